# ruff: noqa: INP001, UP004, UP031, BLE001, PTH100, PTH118, PTH120, PTH123, S110, SIM105, ANN001, ANN201, ANN202, ANN204 - see below
# mypy: ignore-errors
"""Start-up of every Python below `autotune run`, which finds this file through PYTHONPATH.

The environment and sys.path become what they would be without it, so that processes started from here do not get it
too (unless `--children` asks for that), and the user's own sitecustomize runs as usual. Then nothing happens until the
program imports NumPy; once that is complete, apply() is called. A Python that never imports NumPy pays less than a
millisecond, and one without autotune says so in one line and runs on.

Any Python may meet this file: it keeps to what 2.7 understands, and no error leaves it. No annotations, no f-strings.
"""

import os
import sys

WISH, CHILDREN = "AUTOTUNE_START", "AUTOTUNE_START_CHILDREN"
"""Set by `autotune run` (cli/run.py): "apply", with "+reductions" or "+learn" for these too; and "1" to reach all later
processes.

`autotune advise` sets "record:FOLDER": nothing is applied, and calls are recorded there."""
REPORT = "AUTOTUNE_START_REPORT"
"""Set by `autotune compare`: a folder into which each process reports at its end what was in force."""
RECORD = "record:"


def begin():
    """Do nothing but watch for NumPy, whatever goes wrong."""
    try:
        wish = clean()
        if wish and sys.version_info >= (3, 4):
            sys.meta_path.insert(0, _NumpyWatch(wish))
    except Exception as error:
        sys.stderr.write("autotune run: %s\n" % (error,))
    run_users_own()


def clean():
    """Remove the variables of `autotune run` from the environment, and return their values."""
    wish, report = os.environ.get(WISH), os.environ.get(REPORT)
    folder = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [place for place in sys.path if place != folder]
    if not os.environ.get(CHILDREN):
        os.environ.pop(WISH, None)
        os.environ.pop(REPORT, None)
        places = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        remaining = [place for place in places if place != folder]
        if remaining:
            os.environ["PYTHONPATH"] = os.pathsep.join(remaining)
        else:
            os.environ.pop("PYTHONPATH", None)
    return wish + "@" + report if wish and report and not wish.startswith(RECORD) else wish


def apply(wish):
    """Put the measured choices into force, or record the calls."""
    if wish.startswith(RECORD):
        try:
            record(wish[len(RECORD) :])
        except Exception:  # whatever is wrong, the program must run on as if nothing were recorded
            pass
        return
    try:
        from autotune.runtime.apply import apply_from_start
    except (ImportError, SyntaxError):
        sys.stderr.write("autotune run: %s has no autotune, so its calls run as without.\n" % sys.executable)
    else:
        wish, _, report = wish.partition("@")
        apply_from_start(reductions="reductions" in wish, learn="learn" in wish, report=report or None)


def record(folder):
    """Record calls into the folder, or leave a note there that this Python cannot."""
    try:
        from autotune.runtime.record_process import record_from_start
    except (ImportError, SyntaxError):
        encoded = getattr(os, "fsencode", str)  # a path may be no text of the locale's
        with open(os.path.join(folder, "%d.missing" % os.getpid()), "wb") as note:
            note.write(encoded(sys.executable))
    else:
        record_from_start(folder)


class _NumpyWatch(object):
    """A finder that finds NumPy as the others do, and acts once it has been loaded."""

    def __init__(self, wish):
        self._wish = wish
        self._is_waiting = True

    def find_spec(self, name, path=None, target=None):
        if name != "numpy" or not self._is_waiting:
            return None
        self._is_waiting = False
        for finder in sys.meta_path:
            if finder is not self and hasattr(finder, "find_spec"):
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    if spec.loader is not None and hasattr(spec.loader, "exec_module"):
                        spec.loader = _ActingLoader(spec.loader, self._wish)
                    return spec
        return None


class _ActingLoader(object):
    """NumPy's own loader, for the moment between finding and loading; then that one is put in its place."""

    def __init__(self, loader, wish):
        self._loader = loader
        self._wish = wish

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        apply(self._wish)


def run_users_own():
    """Run the sitecustomize that this one hides. Its errors are the user's."""
    module = sys.modules.pop("sitecustomize", None)
    try:
        import sitecustomize  # noqa: F401
    except ImportError as error:
        missing = getattr(error, "name", None) or str(error).rpartition(" ")[2].strip("'")
        if missing != "sitecustomize":
            raise
        if module is not None:
            sys.modules["sitecustomize"] = module


if __name__ == "sitecustomize":
    begin()
