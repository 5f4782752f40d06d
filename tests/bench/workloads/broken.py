"""Cannot be imported."""

import os

VALUE = 1 / len(os.environ.get("A_VARIABLE_THAT_IS_NEVER_SET", ""))


def work(n):
    return n
