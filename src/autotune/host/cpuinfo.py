"""/proc/cpuinfo, which every architecture writes in its own words."""

import re
from collections.abc import Mapping, Sequence

from autotune.host.kernel_files import LARGEST_CPU, whole
from autotune.model.machine import Machine

ARM_VENDORS = {
    0x41: "ARM",
    0x42: "Broadcom",
    0x43: "Cavium",
    0x46: "Fujitsu",
    0x48: "HiSilicon",
    0x4E: "NVIDIA",
    0x50: "APM",
    0x51: "Qualcomm",
    0x53: "Samsung",
    0x56: "Marvell",
    0x61: "Apple",
    0x69: "Intel",
    0x6D: "Microsoft",
    0x70: "Phytium",
    0xC0: "Ampere",
}
"""Implementer codes, as in the kernel's arch/arm64/include/asm/cputype.h."""

Section = Mapping[str, str]

Place = tuple[int, int]
"""The ids of a package and of a core within it."""


def sections(text: str) -> tuple[dict[int, Section], Section]:
    """Return the lines of each CPU by its number, and those that speak of the whole computer."""
    cpus: dict[int, dict[str, str]] = {}
    shared: dict[str, str] = {}
    current = shared
    for line in text.splitlines():
        key, colon, value = (part.strip() for part in line.partition(":"))
        if not colon:
            current = shared if not line.strip() else current
            continue
        number = _cpu_number(key, value)
        if number is None:
            current.setdefault(key, value)
        else:
            # s390 first writes a line for each CPU and later a paragraph for each; both are kept
            current = cpus[number] = {**cpus.get(number, {}), key: value}
    return {**cpus}, shared


def processor(cpus: Mapping[int, Section], shared: Section) -> Machine:
    """Return the fields that name the kind of CPU, None if the architecture has none or they are not written.

    Of several kinds in one computer it is the one with the largest model number.
    """
    kinds = [_processor({**shared, **section}) for section in cpus.values()] or [_processor(shared)]
    return max(kinds, key=lambda kind: -1 if kind.model is None else kind.model)


def _cpu_number(key: str, value: str) -> int | None:
    old_s390 = re.fullmatch(r"processor (\d{1,5})", key)
    if key in {"processor", "cpu number"} or old_s390:
        number = whole(old_s390[1] if old_s390 else value)
        return number if number is not None and 0 <= number < LARGEST_CPU else None
    return None


def _processor(fields: Section) -> Machine:
    if "CPU implementer" in fields:
        return _arm(fields)
    is_x86 = "cpu family" in fields and "flags" in fields
    if is_x86 or fields.get("arch", "").startswith("IA-64"):
        x86 = "x86_64" if "lm" in fields.get("flags", "").split() else "i686"
        return Machine(
            architecture=x86 if is_x86 else "ia64",
            vendor=_first_value(fields, "vendor_id" if is_x86 else "vendor"),
            family=_number(fields, "cpu family" if is_x86 else "family"),
            model=_number(fields, "model"),
            name=_first_value(fields, "model name", *([] if is_x86 else ["family"])),
        )
    if "IBM/S390" in fields.get("vendor_id", ""):
        machine = next((match[1] for text in fields.values() if (match := re.search(r"machine = (\d+)", text))), "")
        return Machine(architecture="s390x", vendor="IBM/S390", model=_hexadecimal(machine))
    return _other(fields)


def _arm(fields: Section) -> Machine:
    implementer = _hexadecimal(fields["CPU implementer"])
    # "AArch64" stands here in kernels before 3.17; the Advanced SIMD unit is "asimd" in 64 bits, "neon" in 32
    generation = fields.get("CPU architecture", "")
    is_64_bit = generation == "AArch64" or "asimd" in fields.get("Features", "").split()
    name = _first_value(fields, "model name", "Processor")
    generation_32 = re.search(r"\((v\d[a-z]+)\)", name or "")
    return Machine(
        architecture="aarch64" if is_64_bit else f"arm{generation_32[1]}" if generation_32 else None,
        vendor=None if implementer is None else ARM_VENDORS.get(implementer, hex(implementer)),
        family=8 if generation == "AArch64" else whole(generation[:1]),
        model=_hexadecimal(fields.get("CPU part", "")),
        name=name,
    )


def _other(fields: Section) -> Machine:
    name = _first_value(fields, "model name", "Model Name", "cpu", "cpu model", "uarch", "Processor")
    power = re.search(r"pvr ([0-9a-f]{4}) ", fields.get("revision", ""))
    isa = fields.get("isa", "")
    return Machine(
        architecture="riscv64" if isa.startswith("rv64") else "alpha" if name == "Alpha" else None,
        vendor="IBM" if (name or "").startswith("POWER") else _first_value(fields, "vendor_id"),
        model=_hexadecimal(power[1]) if power else None,
        name=name,
    )


def _first_value(fields: Section, *names: str) -> str | None:
    """Return the first of these fields that says something."""
    values = (" ".join(fields.get(name, "").split()) for name in names)
    return next((value for value in values if value and value.lower() != "unknown"), None)


def _number(fields: Section, name: str) -> int | None:
    return whole(fields.get(name, ""))


def _hexadecimal(text: str) -> int | None:
    return int(text, 16) if re.fullmatch(r"(0x)?[0-9a-fA-F]{1,8}", text.strip()) else None


def places(cpus: Mapping[int, Section]) -> Mapping[int, Place | None]:
    """Return CPU -> its place if both ids are written; for computers whose /sys has no topology."""
    pairs = {cpu: (_number(lines, "physical id"), _number(lines, "core id")) for cpu, lines in cpus.items()}
    return {cpu: None if package is None or core is None else (package, core) for cpu, (package, core) in pairs.items()}


def active(shared: Section) -> Sequence[int]:
    """Return the CPUs of architectures that only count them (Alpha, SPARC); empty if none are counted."""
    return range(min(4096, _number(shared, "cpus active") or _number(shared, "ncpus active") or 0))
