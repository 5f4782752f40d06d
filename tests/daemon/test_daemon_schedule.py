"""What is measured next, and why."""

from support.daemon_scenes import NAME, NOON, PYTHON, entry, knowledge, row

from autotune.daemon.daemon_settings import Settings
from autotune.daemon.remembered import Memory
from autotune.daemon.schedule import Cause, checked_key, expected_gain, queue
from autotune.model.catalogue import CATALOGUE, operation

EAGER = Settings(interpreters=(PYTHON,))


def causes(known):
    return [job.cause for job in queue(known)]


def test_nothing_asked_and_nothing_stale_is_nothing_to_do():
    assert queue(knowledge(entry())) == []


def test_what_is_called_more_often_comes_first():
    memory = Memory(demand=row("svd", 10, n=300) | row("svd", 1000, n=301))
    first, second = queue(knowledge(memory=memory))
    assert (first.sizes, second.sizes) == ((("m", 301), ("n", 301)), (("m", 300), ("n", 300)))
    assert first.reason.startswith("Programs called it about 1000 times, and nothing measured covers it")


def test_a_few_large_calls_weigh_more_than_many_small_ones():
    memory = Memory(demand=row("solve", 1000, n=20) | row("solve", 10, n=2000))
    assert dict(queue(knowledge(memory=memory))[0].sizes) == {"n": 2000}


def test_an_operation_that_gained_much_elsewhere_is_expected_to_gain_more():
    known = knowledge(entry("svd", ratio=0.2), entry("qr", ratio=0.99))
    survey = known.surveys[NAME]
    gains = [expected_gain(operation(name, n=300), survey) for name in ("svd", "qr")]
    assert gains[0] > gains[1]


def test_demand_that_an_entry_has_answered_meanwhile_is_left_alone():
    memory = Memory(demand=row("svd", 10, n=500))
    assert queue(knowledge(entry("svd", status="default-kept", ratio=None), memory=memory)) == []


def test_an_entry_too_noisy_to_tell_answers_nothing():
    memory = Memory(demand=row("svd", 10, n=500))
    assert causes(knowledge(entry("svd", status="noisy", ratio=None), memory=memory))[0] is Cause.DEMAND


def test_causes_come_in_their_order():
    memory = Memory(
        wishes=[["qr", "float64", {}]],
        doubts={"eig": ["eig", "float64", {"n": 50}, "a program's guard dropped it"]},
        demand=row("inv", 5, n=100),
        interrupted={"interpreter": NAME, "operation": "det", "dtype": "float64", "sizes": {}},
        checked={checked_key("k1", "svd", "float64"): NOON - 40 * 86400},
    )
    known = knowledge(
        entry("svd"), entry("exp", n=1000, contested=True), memory=memory, untried=["/p/mine.yaml"]
    )
    assert causes(known) == [
        *(Cause.TRIAL, Cause.ORDER, Cause.RESUME, Cause.DOUBT, Cause.DEMAND, Cause.CONTESTED, Cause.AGE),
    ]


def test_every_job_says_why():
    memory = Memory(
        wishes=[["qr", "float64", {}]],
        checked={checked_key("k1", "svd", "float64"): NOON - 40 * 86400},
    )
    assert [job.reason for job in queue(knowledge(entry("svd"), memory=memory))] == [
        "It was ordered.",
        "Its entries were last checked 40 days ago.",
    ]


def test_a_new_machine_is_measured_operation_by_operation():
    jobs = queue(knowledge(settings=EAGER))
    assert [job.operation for job in jobs][:3] == list(CATALOGUE)[:3]
    assert {job.reason for job in jobs} == {"It was never measured on this machine and allocation."}


def test_on_a_new_machine_what_programs_ask_for_comes_first():
    memory = Memory(demand=row("svd", 10, n=500))
    assert queue(knowledge(settings=EAGER, memory=memory))[0].operation == "svd"


def test_what_changed_is_the_reason_for_measuring_again():
    memory = Memory(stale={NAME: "software.numpy was 2.3 and is 2.4."})
    reasons = {job.reason for job in queue(knowledge(settings=EAGER, memory=memory))}
    assert reasons == {"Stale: software.numpy was 2.3 and is 2.4."}


LATE = "The time allowed ended before its turn."


def test_whoever_measures_only_what_is_asked_for_measures_what_has_become_stale_and_nothing_that_is_known_elsewhere():
    elsewhere = entry("svd", level="other-allocation")
    assert queue(knowledge(elsewhere)) == []
    (job,) = queue(knowledge(elsewhere, memory=Memory(stale={NAME: "usable_cpus was 4 and is 2."})))
    assert (job.cause, job.operation, job.reason) == (
        Cause.MISSING,
        "svd",
        "Stale: usable_cpus was 4 and is 2.",
    )


def test_of_what_a_class_knows_only_the_sizes_that_could_not_be_told_are_measured():
    """A shipped profile of this very class: its decided sizes are nobody's work any more."""
    shipped = [entry(name, level="same-class", n=n) for name in CATALOGUE for n in (100, 200)]
    noisy = entry("svd", level="same-class", status="noisy", ratio=None, n=300)
    late = entry("svd", level="same-class", status="default-kept", ratio=None, undecided=LATE, n=400)
    jobs = queue(knowledge(*shipped, noisy, late, settings=EAGER))
    assert [(job.cause, job.operation, dict(job.sizes)["n"]) for job in jobs] == [
        (Cause.UNDECIDED, "svd", 300),
        (Cause.UNDECIDED, "svd", 400),
    ]
    assert jobs[1].reason == f"What was measured tells nothing: {LATE}"


def test_an_operation_that_could_not_be_told_at_any_size_is_measured_whole():
    late = entry("svd", level="same-class", status="default-kept", ratio=None, undecided=LATE)
    jobs = [job for job in queue(knowledge(late, settings=EAGER)) if job.operation == "svd"]
    assert [(job.cause, job.sizes) for job in jobs] == [(Cause.MISSING, ())]


def test_what_this_host_has_told_meanwhile_is_not_measured_for_a_class_that_could_not():
    known = [entry(n=100), entry(level="same-class", status="noisy", ratio=None, n=300), entry(n=300)]
    assert queue(knowledge(*known)) == []
    assert {job.operation for job in queue(knowledge(*known, settings=EAGER))}.isdisjoint({"svd"})


def test_whoever_measures_only_what_is_asked_for_measures_what_could_not_be_told_once_programs_call_it():
    known = [entry(n=100), entry(status="noisy", ratio=None, n=300), entry(status="noisy", ratio=None, n=400)]
    assert queue(knowledge(*known)) == []
    (job,) = queue(knowledge(*known, memory=Memory(used=row("svd", 5, n=400))))
    assert (job.cause, dict(job.sizes)) == (Cause.UNDECIDED, {"m": 400, "n": 400})


def test_sizes_that_could_not_be_told_wait_after_a_calibration_of_all():
    memory = Memory()
    known = [entry(n=100), entry(status="noisy", ratio=None, n=300)]
    later = memory.failed("svd float64", NOON, 3600.0)
    asked = {"settings": EAGER, "memory": memory}
    assert Cause.UNDECIDED not in causes(knowledge(*known, **asked))
    assert Cause.UNDECIDED in causes(knowledge(*known, **asked, now=later))


def test_of_what_hosts_disagree_about_only_those_sizes_are_measured_until_this_host_has_decided():
    class_wide = [
        entry(level="same-class", n=100),
        entry(level="same-class", status="refused", contested=True, n=300),
    ]
    assert [(job.cause, dict(job.sizes)["n"]) for job in queue(knowledge(*class_wide))] == [
        (Cause.CONTESTED, 300)
    ]
    assert queue(knowledge(*class_wide, entry(n=300))) == []


def test_entries_of_another_level_do_not_spare_the_measurement():
    jobs = queue(knowledge(entry("svd", level="stale"), settings=EAGER))
    assert "svd" in {job.operation for job in jobs}


def test_what_failed_waits_and_comes_back():
    memory = Memory(demand=row("svd", 10, n=500))
    again = memory.failed("svd float64 m=500 n=500", NOON, 3600.0)
    assert queue(knowledge(memory=memory)) == []
    assert causes(knowledge(memory=memory, now=again)) == [Cause.DEMAND]


def test_an_order_does_not_wait():
    memory = Memory(wishes=[["svd", "float64", {}]])
    memory.failed("svd float64", NOON, 3600.0)
    assert causes(knowledge(memory=memory)) == [Cause.ORDER]


def test_with_a_store_nodes_of_a_class_take_turns_at_what_all_lack():
    shared = Settings(interpreters=(PYTHON,), store="/nfs/autotune")
    memory = Memory(noticed={"k1": NOON})
    now = queue(knowledge(settings=shared, memory=memory))
    later = queue(knowledge(settings=shared, memory=memory, now=NOON + 7200))
    assert len(now) < len(later) == len(CATALOGUE)
