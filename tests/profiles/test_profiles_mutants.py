"""Whatever happens to a profile's bytes, a program that calls apply() runs on."""

import os
from functools import cache

import pytest
from support.mutants import mutants
from support.profile_builders import alone, make_entry, of_this_machine, with_evidence

import autotune
from autotune.model.entry import Status
from autotune.profiles import folders
from autotune.profiles import resolve as resolving
from autotune.profiles.yaml_writer import text_of
from autotune.runtime.process_settings import Setting
from autotune.runtime.process_state import state


def original():
    """The bytes of a profile that fits here, with all that an entry can hold."""
    made = of_this_machine(
        with_evidence(make_entry("qr", choice={"blas_threads": 1}, safe=(1,), m=128, n=128), hosts=2, signer="site"),
        with_evidence(make_entry("qr", safe=(1,), m=2048, n=2048), contested=True),
        make_entry("log", choice={"workers": 1, "chunk": 1000}, n=1_000_000),
        make_entry("share", choice={"method": "memfd", "workers": 1}, n=5),
        make_entry("log", status=Status.NOISY, dtype="float32", n=10),
        with_evidence(make_entry("temporaries", choice={"allocator": "retain"}, n=9), retained_bytes=2**20),
    )
    return text_of(made).encode()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Folders of its own, a file to put mutants in, and this machine looked at once."""
    with pytest.MonkeyPatch.context() as patch:
        alone(patch, tmp_path_factory.mktemp("mutants"))
        patch.setattr(resolving, "this_site", cache(resolving.this_site))
        patch.setattr(os, "fsync", lambda _: None)  # no power fails here
        path = folders.user_profiles() / "mutant.yaml"
        path.parent.mkdir(parents=True)
        yield path, original()
    state.replace_setting(Setting())


def test_no_mutant_of_a_profile_stops_apply(place):
    path, data = place
    for mutant in mutants(data):
        path.write_bytes(mutant)
        state.replace_setting(Setting())
        with autotune.apply():
            # it was refused with a reason, or read; nothing was caught as unforeseen
            assert state.setting.failure is None
            explanation = autotune.explain()
            assert str(explanation)
            assert all(refusal.reason for refusal in explanation.refusals)
            for row in explanation.operations:
                assert row.choice.is_default or row.entry.status is Status.TUNED


def test_the_original_is_used_whole(place):
    """Else the mutants would be mutants of something that is refused anyway."""
    path, data = place
    path.write_bytes(data)
    state.replace_setting(Setting())
    explanation = autotune.explain()
    assert (len(explanation.operations), explanation.refusals) == (6, ())
