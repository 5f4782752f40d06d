"""From the words of a command line to a Request."""

import json
from dataclasses import replace

import pytest

from autotune.bench.user_workload import UserWorkload
from autotune.cli.request_options import make_request
from autotune.errors import BadBudget, BadDocument, BadSize, BadWorkload, UnknownOperation, UsageError
from autotune.model.codec import decode, encode
from autotune.search.request import Effort, Request


def made(*words, **options):
    """The request, but for the moment at which it was asked for."""
    return replace(make_request(*words, **options), asked_at=None)


def test_without_words_all_of_the_catalogue_is_asked_for():
    assert made([]) == Request()


def test_an_alias_is_taken_for_its_operation_and_a_repeated_name_counts_once():
    assert made(["dot", "matmul", "svd"]).operations == ("matmul", "svd")


def test_an_unknown_operation_names_the_nearest():
    with pytest.raises(UnknownOperation, match=r"Did you mean .*svd"):
        made(["svdd"])


def test_several_sizes_form_their_product():
    assert made(["svd", "m=100,200", "n=5"]).sizes == ({"m": 100, "n": 5}, {"m": 200, "n": 5})


def test_sizes_for_several_operations_are_left_for_each_to_fill_in():
    assert made(["svd", "matmul", "inv", "n=100"]).sizes == ({"n": 100},)


@pytest.mark.parametrize(
    "words", [["svd", "k=3"], ["svd", "inv", "m=3", "n=3"], ["svd", "m=3"], ["svd", "n=x"], ["svd", "n="]]
)
def test_a_size_that_an_operation_does_not_have_is_refused(words):
    with pytest.raises(BadSize):
        made(words)


def test_effort_budget_dtype_and_seed_are_passed_on():
    assert made([], dtypes=("float32", "float32"), effort="quick", budget="2m", seed=7) == Request(
        dtypes=("float32",), effort=Effort.QUICK, budget_seconds=120.0, seed=7
    )


def test_an_operation_that_another_version_had_is_none_of_a_request():
    """A journal may be that of another version, which --resume then cannot go on with."""
    with pytest.raises(BadDocument, match="eigvals2"):
        decode(Request, {"operations": ["eigvals2"]})


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_that_no_profile_can_hold_is_refused(seed):
    with pytest.raises(UsageError, match="seed"):
        made([], seed=seed)


def test_a_budget_that_is_no_time_is_refused():
    with pytest.raises(BadBudget):
        made([], budget="soon")


def test_a_function_of_the_users_is_asked_for_alone():
    with pytest.raises(BadWorkload, match="svd"):
        made(["svd"], workload=UserWorkload(name="inv"))


def test_a_request_is_read_back_from_json_as_it_was():
    workload = UserWorkload(name="mine", source="mine.py:mine", sizes=("n",), knobs=("workers",))
    request = make_request(["n=5,6"], effort="quick", cpus="1,all", copies=2, workload=workload)
    assert decode(Request, json.loads(json.dumps(encode(request)))) == request
