"""Cannot be imported."""

import os

VALUE = 1 / len(os.environ.get("A_VARIABLE_THAT_NOBODY_SETS", ""))


def work(n):
    return n
