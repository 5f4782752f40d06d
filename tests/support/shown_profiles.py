"""Profiles to show: a usual one, one of defaults only, and one without entries."""

from autotune.model.allocation import Limit
from autotune.model.configuration import Configuration
from autotune.model.entry import Entry, Evidence, Status
from autotune.model.machine import Hardware
from autotune.model.operation import Operation
from autotune.model.profile import Key, Profile, Provenance
from autotune.model.software import Software

SVD = Entry(
    operation=Operation(name="svd", sizes=(("m", 500), ("n", 500))),
    status=Status.TUNED,
    reason="Proved faster than the default in 6 fresh processes.",
    choice=Configuration(blas_threads=1),
    evidence=Evidence(
        interval=(1.43, 1.56),
        default_seconds=0.0123,
        tuned_seconds=0.0082,
        speedup=1.5,
        processes=6,
        pairs=60,
        default_threads=2,
        safe_threads=(1,),
    ),
)
FILL = Entry(
    operation=Operation(name="fill", sizes=(("n", 1000),)),
    status=Status.DEFAULT_KEPT,
    reason="No candidate was faster.",
    evidence=Evidence(default_seconds=1.2e-6),
)

KEY = Key(
    hardware=Hardware(architecture="x86_64", vendor="GenuineIntel", family=6, model=143, physical_cores=2),
    software=Software(blas="openblas", blas_version="0.3.31", kernels="SkylakeX", numpy="2.4", python="gil"),
    usable_cpus=2,
    limit=Limit.QUOTA,
)

USUAL = Profile(
    key=KEY,
    entries=(SVD, FILL),
    provenance=Provenance(
        created="2026-11-22T13:00:00Z", autotune="0.1.0", cpu="A CPU", effort="normal", resolution=0.013
    ),
)
EMPTY = Profile(key=Key())
DEFAULTS_ONLY = Profile(key=KEY, entries=(FILL,))
