"""The user's own function as a workload.

Its signature says what is tuned: the parameters `blas_threads`, `workers` and `chunk` are knobs, `dtype` is the dtype,
all others are its sizes. The threads of BLAS and of other pools are set around it where its first trial kept them busy.
The function is loaded in fresh processes only, where it can neither hold up nor bring down the one that asks.
"""

import inspect
import re
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from inspect import Parameter
from pathlib import Path
from types import ModuleType
from typing import Any

from autotune.bench.failure_text import cause
from autotune.bench.workloads.workload import Work
from autotune.errors import BadWorkload
from autotune.model.catalogue import Kind, row_of, user_kind
from autotune.model.configuration import Configuration, Knob
from autotune.model.constraints import NAME
from autotune.model.operation import WORKLOAD_MARK, Operation

Function = Callable[..., object]

_NOT_TAKEN = "{} cannot be taken to a fresh process: {}"

BLAS = "blas"
PRESUMED = (BLAS,)
"""Pools that may be at work in a function of which nothing was seen."""
PASSED_KNOBS = (Knob.BLAS_THREADS, Knob.WORKERS, Knob.CHUNK)
"""The knobs that a function may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserWorkload:
    """A user's function: the way to load it in a trial process, and its arguments. Also a Workload of the bench."""

    name: str
    """Under which its entries go into the profile."""
    source: str = ""
    """FILE.py:function or package.module:function; empty for a function that travels by value."""
    pickled: str = ""
    """The function itself, by cloudpickle in base64: for the trial process only."""
    path: tuple[str, ...] = ()
    """Folders in which the function's imports are looked up, before the trial's own."""
    sizes: tuple[str, ...] = ()
    """Parameters that must be given."""
    optional: tuple[str, ...] = ()
    """Parameters with a default that may be given as sizes."""
    any_size: bool = False
    """Does it take keyword arguments of any name?"""
    knobs: tuple[Knob, ...] = ()
    """Those that it names."""
    needed_knobs: tuple[Knob, ...] = ()
    """Those among them without a default of its own."""
    takes_dtype: bool = False
    pools: tuple[str, ...] = PRESUMED
    """Thread pools that a trial of it kept busy: BLAS, and others (`thread_pools`). Their threads are knobs."""

    @property
    def layouts(self) -> tuple[str, ...]:
        """The function makes its own arrays."""
        return ("C",)

    @property
    def kind(self) -> Kind:
        """The function as a row of the catalogue."""
        knobs = {*self.knobs}
        if BLAS in self.pools:
            knobs.add(Knob.BLAS_THREADS)
        if set(self.pools) - {BLAS}:
            knobs.add(Knob.OPENMP_THREADS)
        summary = self.source or f"the function {self.name}"
        return user_kind(self.name, self.sizes, tuple(knob for knob in Knob if knob in knobs), summary)

    def refuse(self, sizes: Mapping[str, int]) -> None:
        """Raise BadWorkload if the function does not take exactly these sizes."""
        missing = [name for name in self.sizes if name not in sizes]
        unknown = [name for name in sizes if name not in (*self.sizes, *self.optional)]
        if missing:
            raise BadWorkload(f"{self.name} needs a value for {', '.join(missing)}.")
        if unknown and not self.any_size:
            takes = ", ".join((*self.sizes, *self.optional)) or "no sizes"
            raise BadWorkload(f"{self.name} has no parameter {', '.join(unknown)}; it takes {takes}.")

    def prepare(self, operation: Operation, layout: str, seed: int) -> Work:  # noqa: ARG002
        """Load the function and bind its sizes. Raises BadWorkload if it cannot be loaded."""
        arguments: dict[str, Any] = dict(operation.sizes)
        if self.takes_dtype:
            arguments["dtype"] = operation.dtype
        function = partial(self.load(), **arguments)
        # a function that has no default of its own gets one worker, one thread and one slice
        whole = max(operation.size.values(), default=1)
        stand_ins = {knob: whole if knob is Knob.CHUNK else 1 for knob in self.needed_knobs}
        # loads NumPy, so the user's module comes first
        from autotune.bench.workloads.result_checks import other_than_first

        def tuned(configuration: Configuration) -> Callable[[], object]:
            chosen: dict[str, int | None] = {knob: getattr(configuration, knob) for knob in self.knobs}
            given = {knob: value for knob, value in chosen.items() if value is not None}
            return partial(function, **(stand_ins | given))

        return Work(plain=partial(function, **stand_ins), tuned=tuned, check=other_than_first())

    def load(self) -> Function:
        """Return the function itself. Runs the user's code; raises BadWorkload with file, line and cause."""
        sys.path[:0] = [folder for folder in self.path if folder not in sys.path]
        if self.pickled:
            import cloudpickle  # 20 ms that other trials do not pay

            try:
                function = cloudpickle.loads(b64decode(self.pickled))
            except BaseException as problem:
                raise BadWorkload(_NOT_TAKEN.format(self.name, cause(problem))) from problem
        else:
            place, _, name = self.source.partition(":")
            function = _look_up(_module(place), place, name)
        return _callable(function, self.name)


def from_function(function: Function, name: str | None = None) -> UserWorkload:
    """Make the workload of a function object, wherever it was defined; it travels to trials by cloudpickle.

    Raises BadWorkload if it has no usable name or parameters, or cannot be pickled.
    """
    import cloudpickle

    name = name or _name(function)
    workload = replace(inspect_function(function, name), path=tuple(sys.path))
    try:
        pickled = cloudpickle.dumps(function)
    except Exception as problem:  # pickling runs the code of whatever the function holds
        raise BadWorkload(_NOT_TAKEN.format(name, cause(problem))) from problem
    return replace(workload, pickled=b64encode(pickled).decode())


def from_source(source: str) -> UserWorkload:
    """Return the workload of FILE.py:function or package.module:function; of a marked function without its name.

    Runs the user's code in this process: `process_bench.inspect_workload` does it in a fresh one. Raises
    BadWorkload with file, line and cause.
    """
    place, colon, name = source.partition(":")
    module = _module(place)
    if not colon:
        name = _marked_name(module, place)
    function = _callable(_look_up(module, place, name), source)
    home = Path(place).resolve() if place.endswith(".py") else place
    return replace(inspect_function(function, _name(function)), source=f"{home}:{name}")


def inspect_function(function: Function, name: str) -> UserWorkload:
    """Read a function's sizes and knobs from its signature. Raises BadWorkload for one that cannot be tuned."""
    if re.fullmatch(NAME, name) is None:
        raise BadWorkload(
            f"{name!r} cannot stand in a profile: define a function named by small letters, digits and _."
        )
    if row_of(name) is not None:
        raise BadWorkload(f"{name} is an operation of the catalogue: give the function another name.")
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as problem:
        raise BadWorkload(f"{name} does not say what it takes: {problem}") from problem
    kinds = {parameter.kind for parameter in parameters}
    if Parameter.POSITIONAL_ONLY in kinds:
        raise BadWorkload(f"{name} must take its parameters by keyword, not by position only.")
    variadic = {Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD}
    is_needed = {each.name: each.default is each.empty for each in parameters if each.kind not in variadic}
    knobs = [Knob(each) for each in is_needed if each in PASSED_KNOBS]
    sizes = [each for each in is_needed if each not in (*PASSED_KNOBS, "dtype")]
    return UserWorkload(
        name=name,
        sizes=tuple(size for size in sizes if is_needed[size]),
        optional=tuple(size for size in sizes if not is_needed[size]),
        any_size=Parameter.VAR_KEYWORD in kinds,
        knobs=tuple(knobs),
        needed_knobs=tuple(knob for knob in knobs if is_needed[knob]),
        takes_dtype="dtype" in is_needed,
    )


def _callable(function: object, name: str) -> Function:
    if not callable(function):
        raise BadWorkload(f"{name} is not a function but {type(function).__name__}.")
    return function


def _name(function: Function) -> str:
    """Return the name of the function's entries in the profile: its mark's, or its own."""
    return str(getattr(function, WORKLOAD_MARK, getattr(function, "__name__", type(function).__name__)))


def _module(place: str) -> ModuleType:
    try:
        if place.endswith(".py"):
            return _from_file(Path(place))
        sys.path.insert(0, str(Path.cwd()))  # as `python -m NAME` does
        return import_module(place)
    except BadWorkload:
        raise
    except BaseException as problem:  # the user's module may raise anything, sys.exit() included
        raise BadWorkload(f"{place} cannot be imported: {cause(problem)}") from problem


def _look_up(module: ModuleType, place: str, name: str) -> object:
    value: object = module
    for part in name.split("."):
        if not hasattr(value, part):
            functions = [
                own
                for own, each in vars(module).items()
                if inspect.isfunction(each) and each.__module__ == module.__name__ and not own.startswith("_")
            ]
            raise BadWorkload(f"{place} has no function {name!r}; it has {', '.join(functions) or 'none'}.")
        value = getattr(value, part)
    return value


def _marked_name(module: ModuleType, place: str) -> str:
    """Return the name of the only function of a module that is marked as a workload."""
    marked = [name for name, value in vars(module).items() if hasattr(value, WORKLOAD_MARK)]
    if len(marked) == 1:
        return marked[0]
    many = f"marks {', '.join(marked)}" if marked else "marks no function with autotune.workload"
    raise BadWorkload(f"{place} {many}: write {place}:FUNCTION.")


def _from_file(file: Path) -> ModuleType:
    if not file.is_file():
        raise BadWorkload(f"There is no file {file}.")
    sys.path.insert(0, str(file.resolve().parent))  # as `python FILE.py` does
    name = file.stem if file.stem not in sys.modules else f"autotune_workload_{file.stem}"
    spec = spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise BadWorkload(f"{file} is not a Python file.")
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
