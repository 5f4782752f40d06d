"""The next measurement and its reason."""

from support.daemon_scenes import NAME, NOON, PYTHON, SVD, entry, schedule_input

from autotune.daemon.daemon_settings import DaemonSettings
from autotune.daemon.schedule import JobCause, expected_gain, queue, turn_of
from autotune.daemon.state import DaemonState, UnfinishedCalibration
from autotune.model.catalogue import CATALOGUE, operation
from autotune.model.operation import Operation

QR = Operation(name="qr")
EAGER = DaemonSettings(interpreters=(PYTHON,))


def causes(inputs):
    return [job.cause for job in queue(inputs)]


def test_nothing_asked_and_nothing_stale_is_nothing_to_do():
    assert queue(schedule_input(entry())) == []


def test_what_is_called_more_often_comes_first():
    state = DaemonState(demand={operation("svd", n=300): 10.0} | {operation("svd", n=301): 1000.0})
    first, second = queue(schedule_input(state=state))
    assert (first.operation, second.operation) == (operation("svd", n=301), operation("svd", n=300))
    assert first.reason.startswith("Programs called it about 1000 times, and no entry covers it")


def test_a_few_large_calls_weigh_more_than_many_small_ones():
    state = DaemonState(demand={operation("solve", n=20): 1000.0} | {operation("solve", n=2000): 10.0})
    assert queue(schedule_input(state=state))[0].operation == operation("solve", n=2000)


def test_an_operation_that_gained_much_elsewhere_is_expected_to_gain_more():
    inputs = schedule_input(entry("svd", speedup=5.0), entry("qr", speedup=1.01))
    inventory = inputs.inventories[NAME]
    gains = [expected_gain(operation(name, n=300), inventory) for name in ("svd", "qr")]
    assert gains[0] > gains[1]


def test_demand_that_an_entry_has_answered_meanwhile_is_left_alone():
    state = DaemonState(demand={operation("svd", n=500): 10.0})
    assert queue(schedule_input(entry("svd", status="default-kept", speedup=None), state=state)) == []


def test_an_entry_too_noisy_to_tell_answers_nothing():
    state = DaemonState(demand={operation("svd", n=500): 10.0})
    assert causes(schedule_input(entry("svd", status="noisy", speedup=None), state=state))[0] is JobCause.DEMAND


def test_causes_come_in_their_order():
    state = DaemonState(
        orders={QR: ()},
        doubts={operation("eig", n=50): "a program's guard dropped it"},
        demand={operation("inv", n=100): 5.0},
        unfinished=UnfinishedCalibration(NAME, Operation(name="det")),
        checked={"k1": {SVD: NOON - 40 * 86400}},
    )
    inputs = schedule_input(entry("svd"), entry("exp", n=1000, contested=True), state=state, untested=["/p/mine.yaml"])
    assert causes(inputs) == [
        *(
            JobCause.ORDER,
            JobCause.TRIAL,
            JobCause.RESUME,
            JobCause.DOUBT,
            JobCause.DEMAND,
            JobCause.CONTESTED,
            JobCause.AGE,
        )
    ]


def test_every_job_says_why():
    state = DaemonState(orders={QR: ()}, checked={"k1": {SVD: NOON - 40 * 86400}})
    assert [job.reason for job in queue(schedule_input(entry("svd"), state=state))] == [
        "It was ordered.",
        "Its entries were last checked 40 days ago.",
    ]


def test_a_new_machine_is_measured_operation_by_operation():
    jobs = queue(schedule_input(settings=EAGER))
    assert [job.operation.name for job in jobs][:3] == list(CATALOGUE)[:3]
    assert {job.reason for job in jobs} == {"It was never measured on this machine and allocation."}


def test_on_a_new_machine_what_programs_ask_for_comes_first():
    state = DaemonState(demand={operation("svd", n=500): 10.0})
    assert queue(schedule_input(settings=EAGER, state=state))[0].operation == operation("svd", n=500)


def test_what_changed_is_the_reason_for_measuring_again():
    state = DaemonState(stale={NAME: "software.numpy was 2.3 and is 2.4."})
    reasons = {job.reason for job in queue(schedule_input(settings=EAGER, state=state))}
    assert reasons == {"Stale: software.numpy was 2.3 and is 2.4."}


LATE = "The time allowed ended before its turn."


def test_a_daemon_that_measures_only_what_is_asked_for_measures_what_has_become_stale_and_nothing_that_is_known_elsewhere():
    elsewhere = entry("svd", level="other-allocation")
    assert queue(schedule_input(elsewhere)) == []
    (job,) = queue(schedule_input(elsewhere, state=DaemonState(stale={NAME: "usable_cpus was 4 and is 2."})))
    assert (job.cause, job.operation.name, job.reason) == (
        JobCause.MISSING,
        "svd",
        "Stale: usable_cpus was 4 and is 2.",
    )


def test_of_what_a_class_knows_only_the_sizes_that_could_not_be_told_are_measured():
    """A shipped profile of this very class: its decided sizes need no work any more."""
    shipped = [entry(name, level="same-class", n=n) for name in CATALOGUE for n in (100, 200)]
    noisy = entry("svd", level="same-class", status="noisy", speedup=None, n=300)
    late = entry("svd", level="same-class", status="undecided", speedup=None, undecided=LATE, n=400)
    jobs = queue(schedule_input(*shipped, noisy, late, settings=EAGER))
    assert [(job.cause, job.operation.name, job.operation.size["n"]) for job in jobs] == [
        (JobCause.UNDECIDED, "svd", 300),
        (JobCause.UNDECIDED, "svd", 400),
    ]
    assert jobs[1].reason == f"Its measurement was undecided: {LATE}"


def test_an_operation_that_could_not_be_told_at_any_size_is_measured_whole():
    late = entry("svd", level="same-class", status="undecided", speedup=None, undecided=LATE)
    jobs = [job for job in queue(schedule_input(late, settings=EAGER)) if job.operation.name == "svd"]
    assert [(job.cause, job.operation.sizes) for job in jobs] == [(JobCause.MISSING, ())]


def test_what_this_host_has_told_meanwhile_is_not_measured_for_a_class_that_could_not():
    entries = [entry(n=100), entry(level="same-class", status="noisy", speedup=None, n=300), entry(n=300)]
    assert queue(schedule_input(*entries)) == []
    assert {job.operation.name for job in queue(schedule_input(*entries, settings=EAGER))}.isdisjoint({"svd"})


def test_a_daemon_that_measures_only_what_is_asked_for_measures_what_could_not_be_told_once_programs_call_it():
    entries = [entry(n=100), entry(status="noisy", speedup=None, n=300), entry(status="noisy", speedup=None, n=400)]
    assert queue(schedule_input(*entries)) == []
    (job,) = queue(schedule_input(*entries, state=DaemonState(used={operation("svd", n=400): 5.0})))
    assert (job.cause, job.operation.size) == (JobCause.UNDECIDED, {"m": 400, "n": 400})


def test_sizes_that_could_not_be_told_wait_after_a_calibration_of_all():
    state = DaemonState()
    entries = [entry(n=100), entry(status="noisy", speedup=None, n=300)]
    later = state.delay("svd float64", NOON, 3600.0)
    situation = {"settings": EAGER, "state": state}
    assert JobCause.UNDECIDED not in causes(schedule_input(*entries, **situation))
    assert JobCause.UNDECIDED in causes(schedule_input(*entries, **situation, now=later))


def test_of_what_hosts_disagree_about_only_those_sizes_are_measured_until_this_host_has_decided():
    class_wide = [entry(level="same-class", n=100), entry(level="same-class", status="refused", contested=True, n=300)]
    assert [(job.cause, job.operation.size["n"]) for job in queue(schedule_input(*class_wide))] == [
        (JobCause.CONTESTED, 300)
    ]
    assert queue(schedule_input(*class_wide, entry(n=300))) == []


def test_entries_of_another_level_do_not_spare_the_measurement():
    jobs = queue(schedule_input(entry("svd", level="stale"), settings=EAGER))
    assert "svd" in {job.operation.name for job in jobs}


def test_what_failed_waits_and_comes_back():
    state = DaemonState(demand={operation("svd", n=500): 10.0})
    again = state.delay("svd float64 m=500 n=500", NOON, 3600.0)
    assert queue(schedule_input(state=state)) == []
    assert causes(schedule_input(state=state, now=again)) == [JobCause.DEMAND]


def test_an_order_does_not_wait():
    state = DaemonState(orders={SVD: ()})
    state.delay("svd float64", NOON, 3600.0)
    assert causes(schedule_input(state=state)) == [JobCause.ORDER]


def test_with_a_store_nodes_of_a_class_take_turns_at_what_all_lack():
    shared = DaemonSettings(interpreters=(PYTHON,), store="/nfs/autotune")
    state = DaemonState(first_seen={"k1": NOON})
    now = queue(schedule_input(settings=shared, state=state))
    later = queue(schedule_input(settings=shared, state=state, now=NOON + 7200))
    assert len(now) < len(later) == len(CATALOGUE)


def test_equal_hosts_take_turns():
    turns = sorted(turn_of(f"host-{number}", "svd", 0.0, spread=7200.0) for number in range(50))
    assert turns[0] < 7200.0 / 10
    assert turns[1] - turns[0] > 0
    assert turns[-1] < 7200.0
