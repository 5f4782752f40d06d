from dataclasses import fields
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.errors import BadDocument
from autotune.model.codec import decode
from autotune.model.configuration import DEFAULT, Allocator, Configuration, Knob, Method, Placement

COUNTS = st.none() | st.integers(1, 4096)
CONFIGURATIONS = st.builds(
    Configuration,
    blas_threads=COUNTS,
    workers=COUNTS,
    chunk=COUNTS,
    method=st.none() | st.sampled_from(Method),
    placement=st.none() | st.sampled_from(Placement),
    allocator=st.none() | st.sampled_from(get_args(Allocator)),
)


@given(CONFIGURATIONS)
def test_a_configuration_comes_back_from_its_plain_values(chosen):
    assert decode(Configuration, chosen.as_dict()) == chosen


@given(CONFIGURATIONS)
def test_its_plain_values_are_numbers_and_text(chosen):
    assert {type(value) for value in chosen.as_dict().values()} <= {int, str}


def test_no_knob_touched_is_the_default():
    assert Configuration() == DEFAULT
    assert DEFAULT.is_default
    assert str(DEFAULT) == "default"
    assert DEFAULT.as_dict() == {}


@pytest.mark.parametrize("knob", Knob)
def test_any_knob_touched_is_not_the_default(knob):
    value = {"method": "pipe", "placement": "cores", "allocator": "default", "wait": "sleep"}.get(knob, 1)
    assert not decode(Configuration, {knob.value: value}).is_default


def test_every_knob_is_a_field():
    assert {item.name for item in fields(Configuration)} == {knob.value for knob in Knob}


def test_threads_at_once_are_those_of_all_workers():
    assert Configuration(blas_threads=4, workers=3).cpus == 12


def test_unset_knobs_count_as_one_thread():
    assert Configuration(chunk=1000).cpus == 1


def test_it_reads_as_its_knobs():
    assert str(Configuration(workers=2, chunk=500, method=Method.MEMFD)) == "workers=2, chunk=500, method=memfd"


@pytest.mark.parametrize("value", [0, -1, 2**53, 1.0, "2", True])
def test_a_count_must_be_a_whole_number_of_at_least_one(value):
    with pytest.raises(BadDocument, match="workers: expected a whole number"):
        decode(Configuration, {"workers": value})


@pytest.mark.parametrize(
    "values", [{"threads": 2}, {"method": "telepathy"}, {"placement": "none"}, {"allocator": "jemalloc"}]
)
def test_unknown_knobs_and_methods_are_refused(values):
    with pytest.raises(BadDocument):
        decode(Configuration, values)
