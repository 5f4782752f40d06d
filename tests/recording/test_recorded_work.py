"""Work of a recording that is calibrated: exact and instant."""

from dataclasses import replace

import pytest
from support.profile_builders import make_entry
from support.recording_builders import QR, call, loop_call, process, recording, resolution_of

from autotune.errors import BadSize
from autotune.intercept.operations import Layout
from autotune.model.codec import decode, encode
from autotune.model.operation import Operation
from autotune.recording.known_gains import GainSource, Limits, known_gain
from autotune.recording.recorded_work import carrying_sizes, recorded_work
from autotune.search.environment import Environment
from autotune.search.plan import make_plan
from autotune.search.request import Request


def qr(n, dtype="float64"):
    return Operation(name="qr", dtype=dtype, sizes=(("m", n), ("n", n)))


def loop(name, n):
    return Operation(name=name, sizes=(("n", n),))


def test_few_sizes_are_all_measured_and_those_without_weight_left_out():
    called = [(qr(100), 1.0), (qr(200), 8.0), (qr(300), 0.01)]
    assert carrying_sizes(called) == [qr(200), qr(100)]


def test_of_many_sizes_those_at_the_quantiles_that_carry_the_time_are_measured():
    called = [(qr(n), 1.0) for n in range(10, 1010, 10)]
    assert carrying_sizes(called) == [qr(100), qr(500), qr(900)]


def test_the_time_and_not_the_number_of_calls_decides_where_the_quantiles_lie():
    called = [(qr(n), 0.1) for n in range(10, 510, 10)] + [(qr(n), 10.0) for n in range(510, 1010, 10)]
    assert carrying_sizes(called)[0] == qr(550)


def test_what_takes_most_time_comes_first_and_weighs_most():
    recorded = recording(
        process(
            call(seconds=2.0, operation=QR),
            call("svd", seconds=6.0, operation=Operation(name="svd", sizes=(("m", 9), ("n", 9)))),
        )
    )
    work = recorded_work(recorded)
    assert [operation.name for operation in work.operations] == ["svd", "qr"]
    assert work.weights == {"svd": 1.5, "qr": 0.5}
    assert work.share == pytest.approx(0.8)


def test_a_loop_is_measured_with_the_dearest_of_its_class():
    work = recorded_work(recording(process(loop_call(1000))))
    assert work.operations == (loop("loop_add", 1000), loop("loop_sqrt", 1000))
    assert work.classes == {("loop_add", "loop_sqrt"): ("add",)}


def test_a_loop_over_a_number_is_measured_with_all_that_have_to_gain_for_it():
    """Without an entry of loop_scale, `x * 2.0` ran plain after its own calibration."""
    work = recorded_work(recording(process(loop_call(1000, layout=Layout.BROADCAST))))
    assert [operation.name for operation in work.operations] == ["loop_scale", "loop_add", "loop_sqrt"]
    assert work.share == pytest.approx(0.1)
    entries = [make_entry(each.name, choice={"workers": 2}, n=1000) for each in work.operations]
    gain = known_gain(loop_call(1000, layout=Layout.BROADCAST), resolution_of(*entries), Limits())
    assert gain.source is GainSource.MEASURED


@pytest.mark.parametrize(
    "met",
    [
        call("sort"),
        call(seconds=0.01, operation=QR),
        call(seconds=1.0, calls=10**6, operation=QR),
        call("sum", operation=loop("loop_sum", 1000), needs_reductions=True),
    ],
    ids=["not tuned", "takes no part", "too short", "reductions"],
)
def test_what_cannot_gain_is_not_measured(met):
    assert recorded_work(recording(process(met))).operations == ()


def test_a_dtype_that_is_not_calibrated_is_said_and_left_out():
    work = recorded_work(recording(process(call(dtype="longdouble", operation=qr(5, "longdouble")))))
    assert (work.operations, work.left_out) == ((), ("qr longdouble n=50",))


def test_complex_work_is_calibrated_like_real_work():
    inverse = Operation(name="inv", dtype="complex64", sizes=(("n", 50),))
    add = loop_call(10**6)
    add = replace(add, operation=replace(add.operation, dtype="complex128"), loop=replace(add.loop, dtype="complex128"))
    recorded = recording(process(call("inv", dtype="complex64", operation=inverse), replace(add, seconds=2.0)))
    work = recorded_work(recorded)
    assert [str(operation) for operation in work.operations] == [
        "loop_add complex128 n=1000000",
        "loop_sqrt complex128 n=1000000",
        "inv complex64 n=50",
    ]
    plan = make_plan(Request(recorded=work.operations, weights=work.weights), Environment(usable_cpus=2))
    assert [item.dtype for item in plan.items] == ["complex128", "complex128", "complex64"]


def test_a_name_without_a_complex_form_is_refused_for_a_complex_dtype():
    with pytest.raises(BadSize, match="random is measured with real numbers only"):
        make_plan(Request(operations=("random",), dtypes=("complex128",)), Environment(usable_cpus=2))
    plan = make_plan(Request(operations=("random", "inv"), dtypes=("complex64",)), Environment(usable_cpus=2))
    assert [item.kind.name for item in plan.items] == ["inv"]


def test_the_plan_measures_what_was_recorded_with_its_dtypes_sizes_and_weights():
    request = Request(recorded=(qr(50), qr(20), qr(50, "float32")), weights={"qr": 2.0})
    plan = make_plan(request, Environment(usable_cpus=2))
    assert [(item.dtype, item.operations, item.weight) for item in plan.items] == [
        ("float64", (qr(20), qr(50)), 2.0),
        ("float32", (qr(50, "float32"),), 2.0),
    ]


def test_a_recorded_request_survives_a_journal():
    import json

    request = Request(recorded=(qr(50),), weights={"qr": 2.0})
    assert decode(Request, json.loads(json.dumps(encode(request)))) == request


def test_what_does_not_fit_the_memory_is_left_out():
    request = Request(recorded=(qr(50), qr(40_000)))
    plan = make_plan(request, Environment(usable_cpus=2, memory_bytes=2**30))
    assert plan.operations == (qr(50),)
