"""One tick after another: what is begun, ended and recorded. Everything around the controller is faked."""

import json
import os
from math import ceil

import pytest
from support.daemon_scenes import FACTS, NAME, NOON, PYTHON, SVD, Scene, entry
from support.spool_files import spool_text

from autotune.daemon import state as daemon_state
from autotune.daemon.child_processes import ChildResult
from autotune.daemon.daemon_settings import AllowedHours, DaemonSettings, Interpreter
from autotune.daemon.state import DailyCpuTime, UnfinishedCalibration
from autotune.host import cgroup
from autotune.model.catalogue import operation
from autotune.model.operation import Operation

QR = Operation(name="qr")


def report(standing="holds", speedup=2.0):
    return {
        "entries": [
            {
                "operation": "svd",
                "dtype": "float64",
                "sizes": {"m": 500, "n": 500},
                "standing": standing,
                "reason": "It was timed.",
                "speedup": speedup,
            }
        ]
    }


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path)


def wished(scene, *entries):
    """A keeper in an idle window, with a calibration of svd that has just begun."""
    scene.take_inventory(*entries)
    scene.controller.order(SVD)
    scene.until_idle()
    assert scene.launcher.last.arguments[:2] == ["calibrate", "svd"]
    return scene.launcher.last


def through_canary(scene, *standings):
    """The calibration ends, and its re-timings say this."""
    scene.launcher.last.finish()
    scene.tick(0.25)
    for standing in standings:
        assert scene.launcher.last.arguments[0] == "verify"
        scene.launcher.last.finish(report(standing))
        scene.tick(0.25)


# --- what is begun ----------------------------------------------------------------------------


def test_the_interpreters_are_asked_first(scene):
    scene.tick()
    assert scene.launcher.last.arguments[0] == "inventory"


def test_nothing_is_measured_on_a_busy_machine(scene):
    scene.take_inventory()
    scene.controller.order(SVD)
    scene.sensors.foreign = 1.0
    for _ in range(20):
        scene.tick(10.0)
    assert len(scene.launcher.children) == 1
    assert scene.status["waiting"] == "Other processes keep 1.00 CPUs busy. The machine counts as quiet below 0.08."


def test_what_is_begun_has_its_reason_in_the_log_and_in_status(scene):
    wished(scene)
    begun = next(line for line in scene.lines if line["event"] == "begun")
    assert (begun["why"], begun["job"], begun["cause"]) == ("It was ordered.", "svd float64", "order")
    assert scene.status["running"]["why"] == "It was ordered."
    assert scene.last_reason == "It was ordered."


def test_what_runs_is_not_what_comes_next(scene):
    wished(scene)
    scene.controller.order(QR)
    assert [job["subject"] for job in scene.controller.next_jobs()] == ["qr float64"]


def test_what_measures_has_journals_of_the_daemon_s_own(scene):
    assert "XDG_STATE_HOME" in wished(scene).environ


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ({"hours": (AllowedHours.from_text("03:00-04:00"),)}, "It is outside the configured hours."),
        ({"daily_cpu_seconds": 0.0}, "The 0 CPU seconds of this day are spent."),
    ],
)
def test_settings_can_forbid_measuring(tmp_path, words, why):
    scene = Scene(tmp_path, **words).take_inventory()
    scene.controller.order(SVD)
    scene.until_idle()
    scene.tick(10.0)
    assert scene.status["waiting"] == why
    assert scene.controller.running is None


def test_a_program_on_the_list_keeps_anything_from_being_measured(tmp_path):
    scene = Scene(tmp_path, exclude=("game",)).take_inventory()
    scene.controller.order(SVD)
    scene.sensors.program = "game"
    scene.until_idle()
    assert scene.controller.running is None
    assert scene.status["waiting"] == "game is running."


# --- what is ended ----------------------------------------------------------------------------


def test_a_trial_is_killed_once_the_machine_is_busy_and_nothing_of_it_is_kept(scene):
    trial = wished(scene)
    scene.sensors.foreign = 1.5
    scene.tick(0.25)
    assert not trial.killed
    scene.tick(0.25)
    assert trial.killed
    assert scene.controller.running is None
    assert "interrupted" in scene.events
    assert not scene.profile.exists()


def test_an_interrupted_calibration_is_gone_on_with_in_the_next_idle_window(scene):
    wished(scene)
    scene.sensors.foreign = 1.5
    scene.tick(0.25)
    scene.tick(0.25)
    scene.sensors.foreign = 0.0
    scene.until_idle()
    assert scene.launcher.last.arguments[:2] == ["calibrate", "svd"]


def test_after_a_kill_of_the_daemon_the_calibration_goes_on_from_its_journal(scene):
    scene.take_inventory()
    scene.state.demand[operation("svd", n=100)] = 5.0
    scene.until_idle()
    begun = scene.launcher.last.arguments
    scene.begin()
    scene.take_inventory()
    scene.state.demand.clear()
    scene.until_idle()
    assert scene.launcher.last.arguments == [*begun, "--resume"]


def test_an_order_goes_on_from_its_journal_too(scene):
    begun = wished(scene).arguments
    scene.sensors.foreign = 1.5
    for _ in range(4):
        scene.tick(0.25)
    assert scene.launcher.last.killed
    scene.sensors.foreign = 0.0
    scene.until_idle()
    assert scene.launcher.last.arguments == [*begun, "--resume"]


def test_what_was_begun_before_something_else_is_begun_anew(scene):
    begun = wished(scene).arguments
    scene.controller.pause_until(NOON + 60)
    scene.state.unfinished = UnfinishedCalibration(NAME, QR)
    scene.controller.pause_until(None)
    scene.until_idle()
    assert scene.launcher.last.arguments == begun


def test_a_journal_of_something_else_is_begun_anew(scene):
    scene.state.unfinished = UnfinishedCalibration(NAME, QR)
    scene.take_inventory()
    scene.until_idle()
    assert scene.launcher.last.arguments[-1] == "--resume"
    scene.launcher.last.finish(status=2, words="There is no calibration of this machine to go on with.")
    scene.tick(0.25)
    assert scene.launcher.last.arguments[:2] == ["calibrate", "qr"]
    assert "--resume" not in scene.launcher.last.arguments


def test_a_child_that_hangs_is_killed_and_tried_again_later(scene):
    trial = wished(scene)
    scene.state.orders.clear()
    for _ in range(6):
        scene.tick(100.0)
    assert trial.killed
    assert "It took longer than" in scene.last_reason


def test_a_pause_ends_what_runs_and_keeps_all_else_from_beginning(scene):
    trial = wished(scene)
    scene.controller.pause_until(NOON + 7200)
    assert trial.killed
    scene.tick(10.0)
    assert scene.controller.running is None
    assert scene.status["waiting"] == "Measuring is paused."
    scene.controller.pause_until(None)
    scene.until_idle()
    assert scene.controller.running is not None


OTHER = Interpreter(python="/opt/other/bin/python")


@pytest.fixture
def ordered_of_two(tmp_path):
    """Two interpreters are listed, and an order has just been done with the first of them."""
    scene = Scene(tmp_path, interpreters=(PYTHON, OTHER))
    scene.tick()
    scene.answer_inventory()
    scene.tick(0.5)
    scene.answer_inventory(key="k2")
    scene.tick(0.5)
    scene.controller.order(operation("svd", n=5))
    scene.until_idle()
    assert scene.controller.running.interpreter == PYTHON
    scene.launcher.last.finish(status=1, words="It failed.")
    return scene


def test_an_order_is_measured_with_every_interpreter(ordered_of_two):
    scene = ordered_of_two
    scene.tick(0.25)
    assert (scene.controller.running.interpreter, scene.status["orders"]) == (OTHER, 1)
    scene.launcher.last.finish(status=1, words="It failed.")
    scene.tick(0.25)
    assert (scene.controller.running, scene.status["orders"]) == (None, 0)
    assert scene.state.orders == {}


def test_an_order_waits_for_no_interpreter_that_is_not_listed_any_more(ordered_of_two):
    scene = ordered_of_two
    scene.tick(0.25)
    scene.controller.reload(DaemonSettings(interpreters=(PYTHON,)))
    assert scene.status["orders"] == 0


def test_an_order_ends_the_re_timing_of_a_profile_and_is_measured_next(scene):
    planted(scene)
    timing = scene.launcher.last
    scene.controller.order(QR)
    assert timing.killed
    scene.tick(0.25)
    assert scene.launcher.last.arguments[:2] == ["calibrate", "qr"]


def test_an_order_ends_no_calibration_whose_journal_the_next_one_would_replace(scene):
    scene.take_inventory()
    scene.state.demand[operation("svd", n=100)] = 5.0
    scene.until_idle()
    trial = scene.launcher.last
    scene.controller.order(QR)
    assert not trial.killed


def test_status_tells_of_an_order_at_once(scene):
    scene.take_inventory()
    scene.until_idle()
    reasons = [scene.status["waiting"]]
    scene.controller.pause_until(NOON + 7200)
    reasons.append(scene.status["waiting"])
    scene.controller.pause_until(None)
    reasons.append(scene.status["waiting"])
    assert reasons == ["There is nothing to do.", "Measuring is paused.", ""]


def test_a_pause_outlives_the_daemon(scene):
    scene.controller.pause_until(NOON + 7200)
    scene.begin()
    assert scene.state.paused_until == NOON + 7200


def test_the_budget_counts_what_trials_use_and_ends_them(tmp_path):
    scene = Scene(tmp_path, daily_cpu_seconds=100.0)
    trial = wished(scene)
    scene.tick(0.25)
    scene.sensors.own += 99.0
    scene.tick(0.25)
    assert not trial.killed
    scene.sensors.own += 2.0
    scene.tick(0.25)
    assert trial.killed
    assert scene.status["spent_cpu_seconds"] == 101.0


def test_a_suspended_machine_forgets_its_trial_and_waits_for_quiet_again(scene):
    trial = wished(scene)
    scene.clock.suspended += 3600
    scene.clock.wall += 3600
    scene.tick(0.25)
    assert trial.killed
    assert "The machine was suspended for 3600 seconds." in [line["why"] for line in scene.lines]
    assert not scene.controller.readiness.window.is_open


@pytest.mark.parametrize("seconds", [86400.0, -86400.0])
def test_a_clock_that_jumps_by_a_day_is_said_and_survived(scene, seconds):
    scene.take_inventory()
    scene.clock.wall += seconds
    scene.tick(10.0)
    assert "clock" in scene.events
    scene.controller.order(SVD)
    scene.until_idle()
    assert scene.controller.running is not None


# --- the canary -------------------------------------------------------------------------------


def test_a_calibration_is_taken_into_use_once_a_re_timing_finds_it_fine(scene):
    wished(scene)
    through_canary(scene, "holds")
    assert scene.launcher.last.arguments[0] == "adopt"
    scene.launcher.last.finish({"entries": 1, "new": {"tuned": 1}})
    scene.tick(0.25)
    assert scene.state.counts["adopted"] == 1
    assert scene.state.orders == {}
    assert scene.state.unfinished is None


def test_a_calibration_that_is_slower_twice_is_never_taken_into_use(scene):
    wished(scene)
    through_canary(scene, "slower", "holds", "slower")
    assert scene.state.counts["quarantined"] == 1
    assert "adopt" not in {child.arguments[0] for child in scene.launcher.children}
    assert scene.state.counts["retimings"] == 3


def test_a_busy_moment_during_the_re_timing_ends_it_too(scene):
    wished(scene)
    through_canary(scene)
    timing = scene.launcher.last
    scene.sensors.foreign = 2.0
    scene.tick(0.25)
    scene.tick(0.25)
    assert timing.killed
    assert "adopt" not in {child.arguments[0] for child in scene.launcher.children}


def planted(scene, *standings):
    """A profile appeared in the folder; the trial's re-timings say this."""
    if not scene.profile.exists():
        scene.profile.write_text("a profile", "utf-8")
    scene.take_inventory(entry(path=str(scene.profile)))
    scene.until_idle()
    assert scene.launcher.last.arguments[:2] == ["excerpt", str(scene.profile)]
    scene.launcher.last.finish({"entries": []})
    scene.tick(0.25)
    for standing in standings:
        scene.launcher.last.finish(report(standing, 1.6))
        scene.tick(0.25)


def test_re_timings_of_a_profile_go_on_where_they_were_interrupted(scene):
    planted(scene, "slower")
    scene.sensors.foreign = 2.0
    scene.tick(0.5)
    scene.tick(0.5)
    assert scene.launcher.last.killed
    scene.sensors.foreign = 0.0
    scene.begin()
    planted(scene, "slower")
    assert not scene.profile.exists()
    assert scene.state.counts["retimings"] == 2


def test_re_timings_of_another_profile_of_that_name_begin_anew(scene):
    planted(scene, "slower")
    scene.controller.stop()
    scene.profile.unlink()
    scene.begin()
    scene.clock.advance(1.0)
    scene.profile.write_text("a longer profile", "utf-8")
    scene.take_inventory(entry(path=str(scene.profile)))
    scene.until_idle()
    scene.launcher.last.finish({"entries": []})
    scene.tick(0.25)
    scene.launcher.last.finish(report("slower", 1.6))
    scene.tick(0.25)
    assert scene.profile.exists()


def test_what_programs_asked_for_before_the_first_daemon_began_is_not_lost(scene):
    scene.leave(spool_text({operation("svd", n=5): 7}))
    scene.take_inventory()
    assert scene.state.demand == {operation("svd", n=5): 7.0}


def test_the_entries_that_programs_use_most_are_the_ones_timed(scene):
    scene.state.used |= {operation("svd", n=500): 3.0, operation("qr", n=100): 9.0}
    planted(scene)
    excerpt = next(child for child in scene.launcher.children if child.arguments[0] == "excerpt")
    assert json.loads(excerpt.arguments[3]) == {
        "most": 5,
        "used": [{"name": "qr", "sizes": {"m": 100, "n": 100}}, {"name": "svd", "sizes": {"m": 500, "n": 500}}],
    }


def test_a_planted_profile_that_is_slower_is_put_aside_after_two_re_timings(scene):
    planted(scene, "slower", "slower")
    assert not scene.profile.exists()
    assert scene.profile.with_name("mine.yaml.quarantined").exists()
    assert scene.state.counts["retimings"] == 2


def test_after_a_profile_was_put_aside_the_interpreter_is_asked_again(scene):
    planted(scene, "slower", "slower")
    scene.tick(0.5)
    assert scene.launcher.last.arguments[0] == "inventory"


def test_a_new_profile_that_is_fine_is_timed_once(scene):
    planted(scene, "no-longer-holds")
    count = len(scene.launcher.children)
    for _ in range(10):
        scene.tick(10.0)
    assert scene.profile.exists()
    assert len(scene.launcher.children) == count


def test_a_slow_profile_that_cannot_be_renamed_is_said_and_not_timed_for_ever(scene):
    scene.profile.with_name("mine.yaml.quarantined").mkdir()
    planted(scene, "slower", "slower")
    said = next(line for line in scene.lines if line["event"] == "quarantine")
    assert said["why"].endswith(f"{os.strerror(21)}. Remove it, or set AUTOTUNE_DISABLE=1.")
    assert scene.state.trusted[str(scene.profile)]


# --- what changes -----------------------------------------------------------------------------


def test_a_quota_that_changed_is_noticed_within_a_minute_and_is_the_reason(scene):
    scene.take_inventory()
    scene.usable = (2, "quota")
    for _ in range(4):
        scene.tick(10.0)
    assert scene.launcher.last.arguments[0] == "inventory"
    scene.answer_inventory(facts=FACTS | {"usable_cpus": 2})
    scene.tick(0.5)
    assert scene.state.stale == {NAME: "usable_cpus was 4 and is 2."}
    assert "stale" in scene.events


def test_a_quota_of_control_groups_of_version_1_is_noticed_like_any_other(scene, tmp_path):
    root = tmp_path / "root"
    group = root / "sys/fs/cgroup/cpu"
    group.mkdir(parents=True)
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/mountinfo").write_text("40 30 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n", "ascii")
    (root / "proc/self/cgroup").write_text("4:cpu:/\n", "ascii")
    (group / "cpu.cfs_period_us").write_text("100000\n", "ascii")
    for quota, usable in ((300_000, (3, "quota")), (100_000, (1, "quota"))):
        (group / "cpu.cfs_quota_us").write_text(f"{quota}\n", "ascii")
        quota_cpus = cgroup.quota(cgroup.folders(str(root)))
        scene.usable = (ceil(quota_cpus), "quota")
        assert scene.usable == usable
        scene.tick(40.0)
        assert scene.launcher.last.arguments[0] == "inventory"
        scene.answer_inventory(facts=FACTS | {"usable_cpus": usable[0]})
        scene.tick(0.5)
    assert scene.state.stale == {NAME: "usable_cpus was 3 and is 1."}


def test_a_numpy_that_changed_is_noticed_by_its_files(tmp_path):
    python = tmp_path / "python"
    python.write_text("one", "utf-8")
    scene = Scene(tmp_path, interpreters=(Interpreter(python=str(python)),)).take_inventory()
    count = len(scene.launcher.children)
    scene.tick(40.0)
    assert len(scene.launcher.children) == count
    python.write_text("another", "utf-8")
    scene.tick(40.0)
    assert scene.launcher.last.arguments[0] == "inventory"
    assert len(scene.launcher.children) == count + 1


def test_stale_entries_are_measured_again_in_the_next_idle_window(tmp_path):
    scene = Scene(tmp_path, calibrate=True).take_inventory(entry("svd"))
    scene.state.delay("matmul float64", NOON, 1e6)
    scene.usable = (2, "quota")
    scene.tick(40.0)
    scene.answer_inventory(facts=FACTS | {"usable_cpus": 2}, key="k2")
    scene.tick(0.5)
    scene.until_idle()
    assert scene.launcher.last.arguments[:2] == ["calibrate", "matmul"]
    assert scene.status["running"]["why"] == "Stale: usable_cpus was 4 and is 2."


def test_an_interpreter_that_cannot_be_asked_is_said_once_and_tried_again(scene):
    scene.launcher.refusal = FileNotFoundError(2, "No such file or directory")
    for _ in range(30):
        scene.tick(10.0)
    assert scene.status["interpreters"][0]["problem"] == (
        "/opt/app/bin/python cannot be asked: /opt/app/bin/python cannot be started: No such file or directory."
    )
    assert scene.events.count(f"inventory {NAME}") == 1
    scene.launcher.refusal = None
    for _ in range(60):
        scene.tick(30.0)
    assert scene.launcher.last.arguments[0] == "inventory"


def test_an_interpreter_that_comes_back_is_asked_within_a_minute_however_often_it_failed(tmp_path):
    python = tmp_path / "python"
    scene = Scene(tmp_path, interpreters=(Interpreter(python=str(python)),))
    scene.launcher.refusal = FileNotFoundError(2, "No such file or directory")
    for _ in range(1000):
        scene.tick(100.0)
    (retry,) = scene.state.retries.values()
    assert retry.not_before <= scene.clock.wall + 3600
    scene.launcher.refusal = None
    python.write_text("here again", "utf-8")
    for _ in range(4):
        scene.tick(10.0)
    assert scene.launcher.last.arguments[0] == "inventory"


def test_an_answer_that_breaks_off_is_said_with_the_folder_that_may_be_full(scene):
    scene.tick()
    scene.launcher.last.end = ChildResult(status=120, answer=b'{"key": "k1", "entr')
    scene.tick(0.5)
    assert scene.status["interpreters"][0]["problem"] == (
        "/opt/app/bin/python cannot be asked: Its answer breaks off; "
        f"{scene.folder}/state, which holds it meanwhile, may be full."
    )


def test_while_no_interpreter_can_be_asked_that_is_what_orders_wait_for(scene):
    scene.launcher.refusal = FileNotFoundError(2, "No such file or directory")
    scene.controller.order(SVD)
    scene.until_idle()
    assert scene.status["waiting"] == "No interpreter can be asked what it has."


@pytest.mark.parametrize("answer", [[], 7, {"key": 1}, {"entries": 7}, None])
def test_an_interpreter_that_answers_strangely_is_said_and_asked_again_later(scene, answer):
    scene.tick()
    scene.launcher.last.finish(answer)
    scene.tick(0.5)
    assert "cannot be asked" in scene.status["interpreters"][0]["problem"]


@pytest.mark.parametrize("answer", [{"entries": [7]}, {"entries": [{}]}, {"entries": 7}, [], None])
def test_a_re_timing_that_answers_strangely_has_failed(scene, answer):
    wished(scene)
    through_canary(scene)
    scene.launcher.last.finish(answer)
    scene.tick(0.25)
    assert scene.state.counts == {"failed": 1.0}


@pytest.mark.parametrize("answer", [{"new": 7}, {}, 7])
def test_an_adoption_that_answers_strangely_has_failed(scene, answer):
    wished(scene)
    through_canary(scene, "holds")
    scene.launcher.last.finish(answer)
    scene.tick(0.25)
    assert scene.state.counts["failed"] == 1


def test_entries_that_a_program_s_guard_dropped_are_measured_again(scene):
    scene.leave(spool_text(lost={operation("svd", n=500): 10}))
    scene.take_inventory(entry("svd"))
    scene.until_idle()
    assert scene.launcher.last.arguments[:4] == ["calibrate", "svd", "m=500", "n=500"]
    assert scene.status["running"]["why"] == (
        "In doubt: the default was faster in 10 of 10 pairs of calls of a program."
    )


def test_an_old_entry_that_does_not_hold_any_more_is_in_doubt(tmp_path):
    scene = Scene(tmp_path, recheck_days=0.001)
    scene.take_inventory(entry("svd", path=str(scene.profile)))
    scene.state.trusted[str(scene.profile)] = []
    scene.state.checked["k1"][SVD] = NOON - 86400
    scene.until_idle()
    assert scene.launcher.last.arguments[:2] == ["excerpt", str(scene.profile)]
    scene.launcher.last.finish({"entries": []})
    scene.tick(0.25)
    scene.launcher.last.finish(report("no-longer-holds", 0.99))
    scene.tick(0.25)
    assert scene.state.counts["doubted"] == 1
    assert scene.launcher.last.arguments[:4] == ["calibrate", "svd", "m=500", "n=500"]


def test_other_settings_end_what_an_unlisted_interpreter_measures(scene):
    trial = wished(scene)
    scene.controller.reload(DaemonSettings(interpreters=(Interpreter(python="/other/python"),)))
    assert trial.killed
    assert scene.controller.inventories.by_name == {}


# --- another process measures, the store --------------------------------------------------------


def test_while_other_code_measures_on_this_host_everything_waits(scene):
    wished(scene)
    scene.state.unfinished = None
    scene.launcher.last.finish(status=3, words="autotune: Another calibration holds this host: process 1.")
    scene.tick(0.25)
    count = len(scene.launcher.children)
    scene.tick(10.0)
    assert len(scene.launcher.children) == count
    assert scene.status["waiting"] == "Another process measures on this host."
    for _ in range(15):
        scene.tick(10.0)
    assert len(scene.launcher.children) == count + 1


def test_a_store_that_hangs_is_let_go_of_and_changes_nothing(tmp_path):
    scene = Scene(tmp_path, store="/nfs/autotune", pull_seconds=100.0).take_inventory()
    for _ in range(12):
        scene.tick(10.0)
    pull = next(child for child in scene.launcher.children if list(child.arguments[:2]) == ["store", "pull"])
    for _ in range(7):
        scene.tick(10.0)
    assert pull.killed
    assert scene.state.pull_failures == 1
    said = [line["why"] for line in scene.lines if line["event"] == "pull"]
    assert said == ["It took longer than 60 seconds and was killed. Nothing changes locally."]


def test_a_store_with_nothing_for_this_machine_is_no_failure(tmp_path):
    scene = Scene(tmp_path, store="/nfs/autotune", pull_seconds=100.0).take_inventory()
    while not any(list(child.arguments[:2]) == ["store", "pull"] for child in scene.launcher.children):
        scene.tick(10.0)
    scene.launcher.last.finish({"mirrored": []}, status=1)
    scene.tick(0.5)
    assert scene.state.pull_failures == 0


def test_what_another_node_of_the_class_measures_is_left_to_it(tmp_path):
    scene = Scene(tmp_path, store="/nfs/autotune", calibrate=True, pull_seconds=1e6).take_inventory()
    scene.state.first_seen["k1"] = NOON - 1e7
    scene.until_idle()
    assert scene.launcher.last.module == "autotune.share.claims"
    assert scene.launcher.last.arguments == ["/nfs/autotune", "k1", "matmul-float64"]
    scene.launcher.last.finish({"holder": "h2", "mine": False})
    scene.tick(0.5)
    assert scene.status["recent"][-2]["why"] == "h2 measures it for its class."
    assert scene.launcher.last.arguments[2] == "matvec-float64"


def test_what_was_found_is_published(tmp_path):
    scene = Scene(tmp_path, store="/nfs/autotune", pull_seconds=1e6)
    wished(scene)
    through_canary(scene, "holds")
    scene.launcher.last.finish({"entries": 1, "new": {"tuned": 1}})
    scene.tick(0.25)
    scene.answer_inventory()
    scene.tick(0.5)
    assert scene.launcher.last.arguments == ["store", "publish", str(scene.profile), "--store", "/nfs/autotune"]


# --- the state folder -------------------------------------------------------------------------


def test_what_is_known_survives_the_daemon(scene):
    scene.controller.order(operation("svd", n=5))
    scene.begin()
    assert scene.state.orders == {operation("svd", n=5): ()}


def test_a_state_file_that_cannot_be_written_is_said_once_and_measuring_goes_on(scene):
    scene.paths.state_file.mkdir()
    wished(scene)
    through_canary(scene, "holds")
    assert scene.launcher.last.arguments[0] == "adopt"
    said = [line["why"] for line in scene.lines if line["event"] == "state"]
    assert said == [f"{scene.paths.state_file} cannot be written ({os.strerror(21)}); the daemon goes on without."]


def test_a_state_folder_that_cannot_be_used_ends_no_daemon(scene):
    scene.take_inventory()
    scene.controller.order(SVD)
    scene.paths.candidate.mkdir()
    scene.until_idle()
    assert scene.controller.running is None
    assert scene.last_reason == f"{scene.paths.candidate} cannot be written: {os.strerror(21)}."


def test_a_clock_that_was_years_ahead_leaves_nothing_waiting_for_years(scene):
    scene.clock.wall += 10 * 365 * 86400.0
    scene.take_inventory(entry("svd"))
    scene.state.delay("svd float64", scene.clock.wall, 3600.0)
    scene.state.cpu_time = DailyCpuTime("2036-01-01", 1e9)
    scene.clock.wall = NOON
    scene.tick(10.0)
    assert scene.state.retries["svd float64"].not_before <= NOON + 20 + 7 * 86400.0
    assert max(scene.state.first_seen.values()) <= NOON + 20
    scene.controller.order(SVD)
    scene.until_idle()
    assert scene.controller.running is not None


def test_adoption_that_fails_says_why_and_is_tried_again(scene):
    wished(scene)
    through_canary(scene, "holds")
    scene.launcher.last.finish({"problem": "[Errno 28] No space left on device"})
    scene.tick(0.25)
    assert scene.last_reason == "[Errno 28] No space left on device"
    assert scene.state.retries["svd float64"].failures == 1


def test_a_flood_of_demand_is_bounded(scene):
    for number in range(10):
        rows = {operation("svd", m=number + 1, n=n): n for n in range(1, 401)}
        scene.leave(spool_text(rows, lost=dict.fromkeys(rows, 5)), f"{number}.json")
    scene.take_inventory()
    demand = scene.state.demand
    assert len(demand) == daemon_state.MAX_COUNTED
    assert min(demand.values()) == 301
    assert len(scene.state.doubts) == 200


def test_what_failed_once_is_forgotten_after_a_month(scene):
    scene.state.delay("svd float64", NOON, 3600.0)
    scene.state.decay(NOON)
    scene.state.decay(NOON + 31 * 86400)
    assert scene.state.retries == {}


def test_a_flood_of_garbage_in_the_spool_is_a_few_lines_of_log(scene):
    for number in range(50):
        scene.leave("{", f"{number}.json")
    scene.take_inventory()
    said = [line["why"] for line in scene.lines if line["event"] == "spool"]
    assert len(said) == 4
    assert said[-1] == "47 more files were refused."


def test_an_interrupted_re_timing_that_was_ordered_away_keeps_its_verdicts(scene):
    planted(scene, "slower")
    scene.controller.order(QR)
    assert len(scene.state.canaries[str(scene.profile)].verdicts) == 1


def test_the_profile_helper_runs_with_the_interpreter_that_is_listed(scene):
    scene.tick()
    assert scene.controller.running.interpreter == PYTHON
