"""Which profiles and entries may speak for a machine: a table of every level and every refusal."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.profile_builders import HARDWARE, KEY, SOFTWARE, alternatives, make_entry, profile, with_evidence

from autotune.model.allocation import Limit
from autotune.model.configuration import Configuration
from autotune.model.entry import Status
from autotune.model.operation import Operation
from autotune.model.profile import Provenance
from autotune.profiles.fit import Fit, Site, Source, fit, fitting_profiles, rungs, same_allocation, transfer
from autotune.profiles.folders import Layer
from autotune.profiles.lookup import Level, look_up

HERE = Site(key=KEY, host="here")
STALE = replace(KEY, software=replace(SOFTWARE, blas_version="0.3.30"))
SMALLER = replace(KEY, usable_cpus=4, limit=Limit.QUOTA)
STALE_REASON = "key.software.blas_version: the profile has 0.3.30, this Python has 0.3.31."
OTHER_REASON = "It was measured with 4 usable CPUs (limited by a CPU quota); here: 8 usable CPUs."

LEVELS = [
    (KEY, "here", Layer.NAMED, Level.EXPLICIT, "The user named it. It was measured on this host."),
    (KEY, None, Layer.NAMED, Level.EXPLICIT, "The user named it. It was measured on another host of this class."),
    (STALE, "here", Layer.NAMED, Level.EXPLICIT, f"The user named it. Stale: {STALE_REASON}"),
    (SMALLER, "here", Layer.NAMED, Level.EXPLICIT, f"The user named it. {OTHER_REASON}"),
    (KEY, "here", Layer.USER, Level.HOST, "It was measured on this host."),
    (KEY, "here", Layer.SHIPPED, Level.CLASS, "It was measured on a machine of this class."),
    (KEY, "other", Layer.SYSTEM, Level.CLASS, "It was measured on another host of this class."),
    (KEY, "other", Layer.SHIPPED, Level.CLASS, "It was measured on a machine of this class."),
    (STALE, "here", Layer.USER, Level.STALE, f"Stale: {STALE_REASON}"),
    (STALE, "other", Layer.SHIPPED, Level.STALE, f"Stale: {STALE_REASON}"),
    (SMALLER, "here", Layer.USER, Level.ALLOCATION, OTHER_REASON),
    (SMALLER, "other", Layer.SYSTEM, Level.ALLOCATION, OTHER_REASON),
]


@pytest.mark.parametrize(("key", "host", "layer", "level", "reason"), LEVELS, ids=range(len(LEVELS)))
def test_a_profile_that_fits_has_its_level(key, host, layer, level, reason):
    assert fit(profile(key=key, host=host), layer, HERE) == Fit(level=level, reason=reason)


REFUSED = [
    (replace(KEY, hardware=replace(HARDWARE, **{name: value})), f"key.hardware.{name}: the profile has {value}, ")
    for name, value in {
        "architecture": "aarch64",
        "vendor": "AuthenticAMD",
        "family": 25,
        "model": 1,
        "packages": 2,
        "physical_cores": 4,
        "smt": 1,
        "numa_nodes": 2,
        "l2_bytes": 1,
        "l3_bytes": 2,
    }.items()
] + [
    (replace(KEY, software=replace(SOFTWARE, **{name: value})), f"key.software.{name}: the profile has {value}, ")
    for name, value in {
        "blas": "mkl",
        "blas_version": "0.4.31",
        "kernels": "Haswell",
        "threading": "openmp",
        "ilp64": False,
        "numpy": "2.3",
        "python": "free-threaded",
    }.items()
]


@pytest.mark.parametrize(("key", "reason"), REFUSED, ids=range(len(REFUSED)))
@pytest.mark.parametrize("layer", Layer)
def test_other_hardware_or_software_is_refused_with_a_reason_in_every_layer(key, reason, layer):
    assert fit(profile(key=key), layer, HERE).level is None
    assert fit(profile(key=key), layer, HERE).reason.startswith(reason)


@pytest.mark.parametrize(
    ("software", "host", "layer", "outdated"),
    [
        ({"numpy": "2.3"}, "here", Layer.USER, "NumPy 2.3"),
        ({"numpy": "2.3", "kernels": "Haswell"}, "here", Layer.USER, "NumPy 2.3"),
        ({"blas_version": "0.4.1"}, "here", Layer.NODE, "openblas 0.4.1"),
        ({"blas": "mkl", "blas_version": "2024.0"}, "here", Layer.USER, "mkl 2024.0"),
        ({"kernels": "Haswell"}, "here", Layer.USER, None),
        ({"numpy": "2.3"}, "other", Layer.USER, None),
        ({"numpy": "2.3"}, "here", Layer.SHIPPED, None),
    ],
)
def test_a_profile_of_this_host_for_another_numpy_or_blas_is_outdated(software, host, layer, outdated):
    key = replace(KEY, software=replace(SOFTWARE, **software))
    assert fit(profile(key=key, host=host), layer, HERE).outdated == outdated


def test_other_hardware_is_not_outdated():
    key = replace(KEY, hardware=replace(HARDWARE, model=1), software=replace(SOFTWARE, numpy="2.3"))
    assert fit(profile(key=key), Layer.USER, HERE).outdated is None


def test_an_unknown_version_is_not_taken_for_a_patch():
    unknown = replace(KEY, software=replace(SOFTWARE, blas_version=None))
    assert fit(profile(key=unknown), Layer.USER, HERE).reason == (
        "key.software.blas_version: the profile has unknown, this Python has 0.3.31."
    )


@pytest.mark.parametrize("host", ["other", None])
@pytest.mark.parametrize("layer", [Layer.USER, Layer.NODE, Layer.CLUSTER])
def test_what_one_other_host_measured_is_not_used_unless_it_is_named(host, layer):
    refused = fit(profile(host=host), layer, HERE)
    assert refused.level is None
    assert refused.reason.startswith(f"provenance.host: the profile has {host or 'unknown'}, this machine has here.")


def test_two_unknown_hosts_are_not_the_same():
    assert fit(profile(host=None), Layer.USER, Site(key=KEY)).level is None


NONE, AFFINITY, QUOTA, CAP, SHARED = Limit
FOUR = {"blas_threads": 4}
ONE = {"blas_threads": 1}
LEAVES = "choice: {} was measured with 8 usable CPUs; the 4 here leave "
UNKNOWN = "choice: {} was proved with "

ELSEWHERE = [
    # (operation, allocation it was measured with, default's threads there), here, choice, upper end of the ratio
    ("solve", (8, NONE, 8), (4, QUOTA), FOUR, 0.9, None),
    ("solve", (8, NONE, 8), (4, QUOTA), {"blas_threads": 8}, 0.9, LEAVES.format("blas_threads=8")),
    ("solve", (8, NONE, 8), (4, SHARED), ONE, 0.9, None),
    ("solve", (8, NONE, 8), (4, CAP), ONE, 0.9, None),
    ("solve", (8, NONE, 8), (4, AFFINITY), FOUR, 0.9, None),  # what plain NumPy does there
    ("solve", (8, NONE, 8), (4, AFFINITY), ONE, 0.4, None),
    ("solve", (8, NONE, 8), (4, AFFINITY), ONE, 0.6, "choice: blas_threads=1 beat the default of 8 usable CPUs;"),
    ("solve", (4, AFFINITY, 4), (8, NONE), ONE, 0.4, None),
    ("solve", (4, AFFINITY, 4), (8, NONE), ONE, 0.6, "choice: blas_threads=1 beat the default of 4 usable CPUs "),
    ("solve", (4, AFFINITY, 4), (4, QUOTA), ONE, 0.9, None),
    ("solve", (4, QUOTA, 8), (4, AFFINITY), ONE, 0.1, UNKNOWN.format("blas_threads=1")),
    ("solve", (4, QUOTA, 8), (4, AFFINITY), FOUR, 0.9, None),
    ("solve", (4, QUOTA, 8), (8, NONE), ONE, 0.1, UNKNOWN.format("blas_threads=1")),
    ("solve", (4, QUOTA, 8), (2, QUOTA), ONE, 0.9, None),
    ("solve", (2, QUOTA, 8), (4, QUOTA), ONE, 0.1, UNKNOWN.format("blas_threads=1")),
    ("solve", (4, CAP, 8), (8, NONE), ONE, 0.9, None),  # the cap is ours: it beat the default of all eight
    ("solve", (4, SHARED, 8), (8, NONE), ONE, 0.1, UNKNOWN.format("blas_threads=1")),
    ("solve", (8, NONE, 4), (4, QUOTA), ONE, 0.1, UNKNOWN.format("blas_threads=1")),  # a BLAS that counts cores
    ("solve", (8, NONE, None), (4, QUOTA), ONE, 0.9, None),
    ("log", (8, NONE, None), (4, AFFINITY), {"workers": 4, "chunk": 100}, 0.9, None),
    ("log", (8, NONE, None), (4, QUOTA), {"workers": 8}, 0.9, LEAVES.format("workers=8") + "workers=4,"),
    ("log", (4, AFFINITY, None), (8, NONE), {"workers": 4}, 0.9, None),
    ("stack_inv", (4, AFFINITY, None), (8, NONE), {"workers": 4}, 0.9, "choice: workers=4 beat the default of 4 "),
    ("batch_matmul", (8, NONE, 8), (4, QUOTA), {"blas_threads": 2, "workers": 2}, 0.9, None),
    (
        "batch_matmul",
        (8, NONE, 8),
        (4, QUOTA),
        {"blas_threads": 2, "workers": 4},
        0.9,
        LEAVES.format("blas_threads=2, workers=4"),
    ),
    ("temporaries", (8, NONE, None), (1, QUOTA), {"allocator": "retain"}, 0.9, None),
    ("solve", (4, QUOTA, 8), (4, QUOTA), ONE, 0.99, None),
    ("log", (8, NONE, None), (4, QUOTA), {"workers": 4, "placement": "cores"}, 0.9, None),
    (
        "log",
        (8, NONE, None),
        (4, AFFINITY),
        {"workers": 4, "placement": "cores"},
        0.9,
        "choice: workers=4, placement=cores was measured on CPUs that lie otherwise",
    ),
]


@pytest.mark.parametrize(("name", "measured", "here", "choice", "high", "reason"), ELSEWHERE, ids=range(len(ELSEWHERE)))
def test_with_another_allocation_a_choice_must_be_unchanged_and_beat_the_default_of_here(
    name, measured, here, choice, high, reason
):
    theirs = replace(KEY, usable_cpus=measured[0], limit=measured[1])
    entry = with_evidence(
        make_entry(name, choice=choice, n=100), interval=(1 / high, 10.0), default_threads=measured[2]
    )
    result = transfer(entry, theirs, at(*here))
    if reason is None:
        assert result.choice == entry.choice
    else:
        assert result.startswith(reason)


def at(usable, limit):
    """Eight CPUs, of which an affinity mask leaves some."""
    schedulable = usable if limit is AFFINITY else 8
    return Site(key=replace(KEY, usable_cpus=usable, limit=limit), host="here", schedulable_cpus=schedulable)


def test_a_count_that_the_clamp_changes_is_used_if_the_clamped_one_was_measured_to_be_safe():
    entry = with_evidence(make_entry("solve", choice={"blas_threads": 8}, safe=(2, 4, 8), n=100), default_threads=8)
    result = transfer(entry, KEY, at(4, QUOTA))
    assert result.choice == Configuration(blas_threads=4)
    assert (result.evidence.speedup, result.evidence.safe_threads) == (None, (2, 4))
    assert "no slower than the default" in result.reason


def test_what_is_safe_against_a_slower_default_is_not_known_to_be_safe_here():
    """Else a size in between would be given a count that only a small allocation's default was slower than."""
    kept = with_evidence(make_entry("solve", safe=(2, 4), n=100), default_threads=4)
    theirs = replace(KEY, usable_cpus=4, limit=AFFINITY)
    assert transfer(kept, theirs, at(8, NONE)) == with_evidence(kept, safe_threads=())
    assert transfer(kept, theirs, at(4, QUOTA)) == kept


def test_what_was_measured_next_to_a_choice_goes_where_its_default_goes():
    alone_choices = alternatives(({"blas_threads": 2}, 1.1), ({"blas_threads": 8}, 1.05))
    entry = replace(with_evidence(make_entry("solve", n=100), default_threads=8), alternatives=alone_choices)
    assert transfer(entry, KEY, at(4, QUOTA)).alternatives == alone_choices[:1]
    assert transfer(entry, KEY, at(4, AFFINITY)).alternatives == ()


def test_a_gain_over_another_default_is_a_bound_and_not_a_ratio():
    entry = with_evidence(make_entry("solve", choice=ONE, n=100), interval=(5.0, 6.0), default_threads=8)
    result = transfer(entry, KEY, at(4, AFFINITY))
    assert (result.evidence.speedup, result.evidence.interval) == (None, (2.5, 6.0))


def test_a_kept_default_is_kept_with_any_allocation():
    assert transfer(make_entry(n=100), KEY, at(1, QUOTA)).choice == Configuration()


# --- the whole ladder, for one operation ---------------------------------------------------------


def ladder(sources, here, operation):
    """The entry that speaks for an operation, and what was refused on the way to it."""
    fitting, unfitting = fitting_profiles(sources, here)
    built, refused_entries = rungs(fitting, here)
    refusals = [*unfitting, *refused_entries]
    match, passed = look_up(built.get((operation.name, operation.dtype), ()), operation)
    refused = (*(refusal for refusal in refusals if refusal.entry is None), *passed)
    if match is None:
        return SimpleNamespace(entry=None, level=Level.DEFAULT, path=None, reason=None, refused=refused)
    return SimpleNamespace(entry=match.entry, level=match.level, path=match.path, reason=match.why, refused=refused)


SOLVE = Operation(name="solve", sizes=(("n", 100),))
BETTER = {"blas_threads": 2}


def made(layer, *, host="here", key=KEY, choice=BETTER, n=100, status=None, **more):
    """A profile with one entry, in a file that is named like its layer."""
    entry = with_evidence(make_entry("solve", choice=choice, status=status, n=n), **more)
    return Source(layer=layer, path=f"{layer}.yaml", profile=profile(entry, key=key, host=host))


NAMED = made(Layer.NAMED, choice={"blas_threads": 1})
MINE = made(Layer.USER, choice={"blas_threads": 2})
SITE = made(Layer.SYSTEM, host="other", choice={"blas_threads": 3})
MIRROR = made(Layer.CLUSTER, host=None, hosts=2, choice={"blas_threads": 4})
SIGNED = made(Layer.CLUSTER, host=None, hosts=1, signer="site", choice={"blas_threads": 5})
OLDER = made(Layer.USER, key=STALE, choice={"blas_threads": 6})
ALL = replace(KEY, usable_cpus=16)
LARGER = made(Layer.USER, key=ALL, choice={"blas_threads": 8}, default_threads=16, interval=(3.3, 4.0))

RUNGS = [
    ([NAMED, MINE, SITE, MIRROR, OLDER, LARGER], Level.EXPLICIT, "named.yaml"),
    ([MINE, SITE, MIRROR, OLDER, LARGER], Level.HOST, "user.yaml"),
    ([SITE, MIRROR, OLDER, LARGER], Level.CLASS, "system.yaml"),
    ([MIRROR, OLDER, LARGER], Level.CLASS, "cluster.yaml"),
    ([OLDER, SIGNED, LARGER], Level.CLASS, "cluster.yaml"),
    ([LARGER, OLDER], Level.STALE, "user.yaml"),
    ([LARGER], Level.ALLOCATION, "user.yaml"),
    ([], Level.DEFAULT, None),
]


@pytest.mark.parametrize(("sources", "level", "path"), RUNGS, ids=[str(row[1]) + str(i) for i, row in enumerate(RUNGS)])
def test_the_best_level_speaks(sources, level, path):
    verdict = ladder(sources, HERE, SOLVE)
    assert (verdict.level, verdict.path, verdict.refused) == (level, path, ())
    assert bool(verdict.reason) == bool(sources)


@pytest.mark.parametrize(("sources", "level", "path"), RUNGS[:-1], ids=range(len(RUNGS) - 1))
def test_the_choice_is_that_of_its_entry(sources, level, path):
    (expected,) = [
        source.profile.entries[0].choice
        for source in sources
        if ladder([source], HERE, SOLVE).level is level and source.path == path
    ]
    assert ladder(sources, HERE, SOLVE).entry.choice == expected


FAR = [
    (
        made(Layer.SYSTEM, key=ALL, choice={"blas_threads": 16}, default_threads=16),
        "choice: blas_threads=16 was measured",
    ),
    (
        made(Layer.SYSTEM, key=ALL, choice={"workers": 3, "blas_threads": 4}, default_threads=16),
        "choice: blas_threads=4,",
    ),
]

STOPS = [
    (made(Layer.NAMED, n=200), "It was measured for n=200; outside nothing is claimed."),
    (
        made(Layer.NAMED, interval=(1 / 1.01, 9.0)),
        "interval: with blas_threads=2 it may be 0.99 times as fast as the default.",
    ),
    (
        made(Layer.NAMED, interval=(0.97, 1.03), cpu_ratio=0.5),
        "interval: with blas_threads=2 it may be 0.97 times as fast as the default.",
    ),
    (made(Layer.NAMED, key=replace(KEY, hardware=replace(HARDWARE, smt=1))), "key.hardware.smt: the profile has 1,"),
    (made(Layer.USER, host="other"), "provenance.host: the profile has other, this machine has here. No second"),
    (made(Layer.CLUSTER, host=None), "provenance.host: the profile has unknown, this machine has here. No second"),
    (made(Layer.CLUSTER, host=None, hosts=2, contested=True), "contested: hosts of this class disagree"),
    (made(Layer.SYSTEM, host="other", contested=True), "contested: hosts of this class disagree"),
    (made(Layer.USER, choice=None, status=Status.NOISY), "Made by hand."),
]


def test_a_choice_for_fewer_cpu_seconds_is_used_though_it_may_be_a_little_slower():
    saving = made(Layer.NAMED, interval=(0.985, 1.01), cpu_ratio=0.5)
    assert ladder([saving, MIRROR], HERE, SOLVE).path == "named.yaml"


@pytest.mark.parametrize(("nearer", "reason"), STOPS, ids=range(len(STOPS)))
def test_what_is_refused_leaves_the_word_to_the_next_and_says_why(nearer, reason):
    verdict = ladder([nearer, MIRROR], HERE, SOLVE)
    assert (verdict.level, verdict.path) == (Level.CLASS, "cluster.yaml")
    (refused,) = verdict.refused
    assert refused.path == nearer.path
    assert refused.reason.startswith(reason)


@pytest.mark.parametrize(("nearer", "reason"), [*STOPS[:-1], *FAR], ids=range(len(STOPS) + 1))
def test_without_a_next_the_default_stays(nearer, reason):
    verdict = ladder([nearer], HERE, SOLVE)
    assert (verdict.entry, verdict.level, verdict.path) == (None, Level.DEFAULT, None)
    assert [refusal.reason.startswith(reason) for refusal in verdict.refused] == [True]


def test_a_farther_refused_entry_is_not_told_next_to_the_one_in_use():
    assert ladder([MINE, made(Layer.CLUSTER, host=None, hosts=2, contested=True)], HERE, SOLVE).refused == ()


def test_one_confirmed_entry_does_not_lend_its_hosts_to_another():
    alone = with_evidence(make_entry("qr", choice=BETTER, m=10, n=10), hosts=1)
    both = profile(*MIRROR.profile.entries, alone, host=None)
    source = Source(layer=Layer.CLUSTER, path="cluster.yaml", profile=both)
    verdict = ladder([source], HERE, alone.operation)
    assert verdict.entry is None
    assert [refusal.reason for refusal in verdict.refused] == [
        "hosts: one host alone has measured it; 2 must agree, or a trusted signer sign it."
    ]


def test_contested_or_not_what_this_host_measured_counts_here():
    assert ladder([made(Layer.USER, contested=True)], HERE, SOLVE).level is Level.HOST


def test_a_noisy_measurement_of_this_host_keeps_the_default_if_nothing_else_speaks():
    verdict = ladder([STOPS[-1][0]], HERE, SOLVE)
    assert (verdict.level, verdict.entry.choice) == (Level.HOST, Configuration())


def test_an_entry_that_is_stale_and_of_another_allocation_says_both():
    both = made(Layer.USER, key=replace(ALL, software=STALE.software), choice=None, status=Status.DEFAULT_KEPT)
    reason = ladder([both], HERE, SOLVE).reason
    assert reason.startswith("It was measured with 16 usable CPUs; here: 8 usable CPUs. Stale: key.software.")


def test_two_machines_with_one_slug_are_told_apart_by_their_keys():
    """A name of a file proves nothing: what is compared is every field of the key."""
    twin = made(Layer.CLUSTER, host=None, hosts=9, key=replace(KEY, hardware=replace(HARDWARE, l3_bytes=7)))
    verdict = ladder([replace(twin, path=f"{KEY.slug}.yaml")], HERE, SOLVE)
    assert verdict.entry is None
    assert verdict.refused[0].reason.startswith("key.hardware.l3_bytes: the profile has 7, this machine has ")


@given(sources=st.permutations([NAMED, MINE, SITE, MIRROR, SIGNED, OLDER, LARGER, *(row[0] for row in STOPS)]))
def test_no_order_of_the_files_moves_an_entry_to_another_level(sources):
    verdict = ladder(sources, HERE, SOLVE)
    assert (verdict.level, verdict.entry.choice) == (Level.EXPLICIT, Configuration(blas_threads=1))


MARKS = ("boot-1", "system-1")


@pytest.mark.parametrize(
    ("marks", "layer", "level"),
    [
        (("boot-1", "system-2"), Layer.USER, Level.HOST),  # a container on this computer
        (("boot-2", "system-1"), Layer.USER, Level.STALE),  # renamed and restarted, or a clone
        (("boot-2", "system-1"), Layer.CLUSTER, None),
        (("boot-2", "system-2"), Layer.USER, None),
    ],
)
def test_a_profile_of_ones_own_survives_a_new_host_name(marks, layer, level):
    named = replace(profile(host="earlier-name"), provenance=Provenance(host="earlier-name", marks=marks))
    here = Site(key=KEY, host="here", marks=MARKS)
    fitted = fit(named, layer, here)
    assert fitted.level is level
    if level is Level.STALE:
        assert "another name" in fitted.reason


SIBLINGS = replace(KEY, usable_cpus=2, limit=Limit.AFFINITY, cores=1, nodes=1)
CORES = replace(SIBLINGS, cores=2)
SPREAD = replace(CORES, nodes=2)
FAST = replace(CORES, kinds=("performance:2",))
SLOW = replace(CORES, kinds=("efficiency:2",))


@pytest.mark.parametrize(
    ("origin", "key", "same"),
    [
        (SIBLINGS, CORES, False),
        (CORES, SPREAD, False),
        (FAST, SLOW, False),
        (CORES, CORES, True),
        (replace(CORES, cores=None, nodes=None), CORES, True),  # unknown
    ],
)
def test_two_threads_of_a_core_two_cores_and_two_kinds_of_them_are_different_allocations(origin, key, same):
    assert same_allocation(origin, key) is same
    assert (origin.digest == key.digest) is (origin == key)


@pytest.mark.parametrize(("origin", "key"), [(CORES, SIBLINGS), (CORES, SPREAD), (FAST, SLOW), (SLOW, FAST)])
def test_a_choice_is_not_carried_to_cpus_that_lie_worse(origin, key):
    choice = make_entry("svd", choice={"blas_threads": 2}, n=100)
    assert "share fewer cores" in transfer(choice, origin, Site(key=key, host="here"))
