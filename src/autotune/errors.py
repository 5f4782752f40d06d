"""Every exception that autotune raises, drawn as a tree.

AutotuneError
├── UsageError                 the request is invalid (exit code 2)
│   ├── UnknownOperation       no operation has this name; holds the nearest names
│   ├── BadSize                a size is malformed, missing or not a size of the operation
│   ├── BadWorkload            the user's function cannot be loaded, or takes no such arguments
│   ├── BadBudget              the time allowed is too small for a single operation
│   ├── BadSettings            a configuration file, or an option in its place, has an invalid setting
│   └── BadDocument            a document (YAML, JSON) does not hold what it should; holds the place and the reason
├── EnvironmentProblem         the machine or the environment does not allow it (exit code 3)
│   ├── HostBusy               another trial runs on this host; holds who
│   ├── DaemonRuns             another daemon runs already; holds its lock file
│   ├── NoDaemon               no daemon answers on its socket
│   ├── NoTemporaryFolder      no temporary file can be written; holds the reason
│   ├── UnsupportedPlatform    this operating system or library cannot do it
│   ├── MissingPackage         an optional package is not installed; holds it and the extra that brings it
│   └── StoreProblem           a store cannot be reached, read or written; holds its address and the reason
├── OrderRefused               the daemon refuses an order
├── ProfileError               a profile cannot be used; holds the path and the reason
├── UntrustedFile              a file is of the wrong kind, or others could have written it; holds path and reason
└── SharedMemoryError          a shared array cannot be made or opened
"""

import os
from collections.abc import Sequence


def error_text(error: Exception) -> str:
    """Return an exception as text for people: the sentence of an own error, else type and message."""
    return str(error) if isinstance(error, AutotuneError) else f"{type(error).__name__}: {error}"


def raise_if_of_signal_handler(error: Exception) -> None:
    """Raise an exception again that a handler of signals raised: it is meant for the program, such as an alarm's.

    Python calls handlers between any two instructions of the main thread. They are in the traceback then.
    """
    import signal

    handlers = [getattr(handler, "func", handler) for handler in map(signal.getsignal, signal.valid_signals())]
    # functions and methods have a __code__, instances are called through that of their class
    methods = [vars(type(handler)).get("__call__") for handler in handlers]
    codes = {getattr(each, "__code__", None) for each in (*handlers, *methods)}
    frames = error.__traceback__
    while frames is not None:
        if frames.tb_frame.f_code in codes:
            raise error
        frames = frames.tb_next


class AutotuneError(Exception):
    """Base of all; its text is a sentence for people, its attributes are for programs.

    A constructor stores its arguments, in their order, in attributes: pickles consist of these, and not of the text.
    """

    def __reduce__(self) -> str | tuple[object, ...]:
        arguments = [value for name, value in vars(self).items() if name != "__notes__"]
        return (type(self), tuple(arguments), vars(self)) if arguments else super().__reduce__()


class UsageError(AutotuneError, ValueError):
    """The request is invalid."""


class UnknownOperation(UsageError):
    """No operation has this name."""

    def __init__(self, name: str, nearest: Sequence[str] = ()) -> None:
        self.name = name
        self.nearest = tuple(nearest)
        hint = (
            f"Did you mean {', '.join(self.nearest)}?"
            if self.nearest
            else "`autotune calibrate --help` names all; --workload FILE.py:FUNCTION measures a function of yours."
        )
        super().__init__(f"There is no operation named {name!r}. {hint}")


class BadSize(UsageError):
    """A size is malformed, missing, or not a size of the operation."""


class BadWorkload(UsageError):
    """The user's function cannot be loaded, or does not take the arguments asked for."""


class BadBudget(UsageError):
    """The time allowed is too small for a single operation."""


class BadSettings(UsageError):
    """A configuration file, or an option in its place, has an invalid setting."""


class BadDocument(UsageError):
    """A document does not hold what it should."""

    def __init__(self, reason: str, where: str = "") -> None:
        self.reason = reason
        self.where = where
        super().__init__(f"{where or 'the document'}: {reason}")


class EnvironmentProblem(AutotuneError, RuntimeError):
    """The machine or the environment does not allow it."""


class HostBusy(EnvironmentProblem):
    """Another trial runs on this host."""

    def __init__(self, holder: str) -> None:
        self.holder = holder
        super().__init__(
            f"Another calibration holds this host: {holder}. Two at once would disturb each other; wait for it to end, "
            "or stop it. If the daemon started it: `autotune daemon pause --for 1h`."
        )


class DaemonRuns(EnvironmentProblem):
    """Another daemon holds the lock."""

    def __init__(self, lock: os.PathLike[str] | str) -> None:
        self.lock = lock
        super().__init__(
            f"Another daemon holds {lock}; two would measure each other. `autotune daemon status` asks it, "
            "`autotune daemon stop` ends it."
        )


class NoDaemon(EnvironmentProblem):
    """No daemon answers, or the socket belongs to a user who is not trusted."""


class NoTemporaryFolder(EnvironmentProblem):
    """No temporary file can be written."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"Temporary files cannot be written: {reason}. Nothing was run. Set TMPDIR to a folder in which you "
            "may write, with a megabyte of room."
        )


class UnsupportedPlatform(EnvironmentProblem):
    """This operating system or library cannot do it."""


EXTRAS = {
    "calibrate": ("optuna", "scipy", "psutil", "filelock", "cloudpickle", "archspec", "rich"),
    "share": ("fsspec", "cryptography", "distributed"),
}
"""The packages of each extra, as pyproject.toml lists them."""


class MissingPackage(EnvironmentProblem):
    """An optional package is not installed."""

    def __init__(self, package: str, extra: str | None = None) -> None:
        self.package = package
        self.extra = extra
        # never by the name numpy-autotune: until a release, an index may have another package of this name
        install = (
            f"`pip install {package}`."
            if extra is None
            else f'The extra [{extra}] brings it: `pip install ".[{extra}]"` in a checkout, or '
            f"`pip install {' '.join(EXTRAS[extra])}` elsewhere."
        )
        super().__init__(f"This needs the package {package}, which is not installed. {install}")

    @classmethod
    def of_import(cls, error: ModuleNotFoundError) -> "MissingPackage | None":
        """Return the error for an import that failed, or None if no extra brings the module."""
        package = (error.name or "").partition(".")[0]
        extras = (extra for extra, packages in EXTRAS.items() if package in packages)
        return next((cls(package, extra) for extra in extras), None)


class StoreProblem(EnvironmentProblem):
    """A store cannot be reached, read or written."""

    def __init__(self, address: str, reason: str) -> None:
        self.address = address
        self.reason = reason
        super().__init__(f"The store {address} {reason}.")


class OrderRefused(AutotuneError):
    """The daemon refuses an order."""


class ProfileError(AutotuneError):
    """A profile cannot be used."""

    def __init__(self, reason: str, path: os.PathLike[str] | str | None = None) -> None:
        self.reason = reason
        self.path = path
        super().__init__(f"{path}: {reason}" if path is not None else reason)


class UntrustedFile(AutotuneError):
    """A file is of the wrong kind or size, or users other than this one and root could have written it."""

    def __init__(self, reason: str, path: os.PathLike[str] | str) -> None:
        self.reason = reason
        self.path = path
        super().__init__(f"{path}: {reason}")


class SharedMemoryError(AutotuneError, OSError):
    """A shared array cannot be made or opened."""
