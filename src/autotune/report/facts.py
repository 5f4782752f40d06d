"""The machine and the software of one profile, and how it was measured."""

from collections.abc import Iterator

from autotune.model.profile import Key, Provenance
from autotune.report.pieces import section
from autotune.report.subject import Subject
from autotune.report.table import text
from autotune.report.units import memory

_LIMITS = {
    "affinity": "an affinity mask or cpuset",
    "quota": "a CPU quota",
    "cap": "AUTOTUNE_CPUS",
    "shared": "the processes that share them",
}


def facts(subject: Subject) -> str:
    """What is known, as a list; what is not is left out."""
    key, made = subject.profile.key, subject.profile.provenance
    pairs = [*_machine(key, made), *_method(key, made), ("Profile", subject.path)]
    items = "".join(f"<div><dt>{text(name)}</dt><dd>{text(said)}</dd></div>" for name, said in pairs if said)
    return section("machine", "Machine and method", "", f'<dl class="facts">{items}</dl>')


def _machine(key: Key, made: Provenance) -> Iterator[tuple[str, str]]:
    hardware, software = key.hardware, key.software
    cores = (
        _count(hardware.packages, "package"),
        _count(hardware.physical_cores, "core"),
        _count(hardware.smt, "hardware thread", "a core"),
        _count(hardware.numa_nodes, "NUMA node"),
    )
    limited = None if key.limit == "none" else f"limited by {_LIMITS[str(key.limit)]}"
    kernels = software.kernels and f"kernels {software.kernels}"
    yield "CPU", _words(made.cpu, hardware.architecture)
    yield "Cores", _words(*cores)
    yield "Caches", f"L2 {memory(hardware.l2_bytes)}, L3 {memory(hardware.l3_bytes)}"
    yield "Usable CPUs", _words(key.usable_cpus, limited)
    yield "BLAS", _words(software.blas, software.blas_version, kernels, software.threading)
    yield "NumPy, Python", _words(software.numpy, software.python)
    yield "System", _words(made.kernel, made.governor and f"governor {made.governor}")


def _method(key: Key, made: Provenance) -> Iterator[tuple[str, str]]:
    if made.memory_bandwidth:
        yield "Copies memory at", f"{made.memory_bandwidth / 1e9:.1f} GB/s, all CPUs together"
    if made.peak_flops:
        yield "Multiplies at", f"{made.peak_flops / 1e9:.0f} GFLOP/s in float64, all CPUs together"
    if made.capacity:
        yield "Work of all CPUs", f"{made.capacity:.2f} times one CPU’s, of {key.usable_cpus}"
    if made.resolution is not None:
        yield "Smallest difference told", f"{made.resolution:.1%}"
    if made.expected_wrong is not None:
        wrong = f"at most {made.expected_wrong:.2g} of the {made.rules_tested} that were put to the test"
        yield "Wrongly accepted, as expected", wrong
    yield (
        "Measured",
        _words(
            made.created,
            made.effort and f"effort {made.effort}",
            made.autotune and f"autotune {made.autotune}",
            f"{made.copies} copies at once" if made.copies > 1 else None,
            f"beside {made.neighbours} busy processes" if made.neighbours else None,
        ),
    )


def _words(*parts: object) -> str:
    return ", ".join(str(part) for part in parts if part)


def _count(number: int | None, noun: str, rest: str = "") -> str | None:
    return None if number is None else f"{number} {noun}{'s' * (number != 1)} {rest}".strip()
