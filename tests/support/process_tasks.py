"""Tasks for worker processes: they have to stand in a module."""

import os


def blas_threads(_=None):
    from autotune.controls import blas

    return blas.current()


def is_inside(_=None):
    from autotune.parallel import thread_pool

    return thread_pool.is_inside()


def environment(name):
    return os.environ.get(name)


def affinity(_=None):
    return sorted(os.sched_getaffinity(0))


def fail():
    raise LookupError("not here")


def end():
    os._exit(3)
