"""The nouns: frozen, standard library only, no input or output.

Import from the modules: a dataclass costs a millisecond to make, and a tuned program needs only a few.
"""
