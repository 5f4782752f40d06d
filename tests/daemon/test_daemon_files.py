"""Files that the daemon reads: its configuration, the spool, a recorded machine. Garbage is refused with a sentence."""

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.mutants import mutants
from support.profile_builders import profile
from support.spool_files import spool_text

from autotune.daemon import spool
from autotune.daemon.daemon_settings import AllowedHours, DaemonSettings, Interpreter, load_settings
from autotune.daemon.sensors import MachineSensors, is_on_battery, throttle_count
from autotune.errors import BadDocument, ProfileError, UsageError
from autotune.model.catalogue import operation
from autotune.model.codec import decode
from autotune.model.spool_document import FORMAT
from autotune.profiles import folders, profile_files
from autotune.profiles.folders import Layer
from autotune.runtime.demand import Demand, leave


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.delenv("AUTOTUNE_STORE", raising=False)
    return tmp_path / "daemon.yaml"


def read(file, text):
    file.write_text(text, "utf-8")
    return load_settings(file)


# --- configuration ----------------------------------------------------------------------------


def test_without_a_file_everything_has_its_default(file):
    assert load_settings(file) == DaemonSettings()


def test_an_empty_file_says_nothing(file):
    assert read(file, "# nothing\n") == DaemonSettings()


def test_a_whole_file_is_understood(file):
    settings = read(
        file,
        """
interpreters:
  - python: /opt/app/bin/python
    environment: {OPENBLAS_CORETYPE: Haswell, AUTOTUNE_CPUS: "4"}
idle: {quiet_seconds: 30}
hours: ["22:00-06:00", "sat,sun 00:00-24:00"]
exclude: [blender]
daily_cpu_seconds: 600
store: /nfs/autotune
group: wheel
""",
    )
    environment = {"AUTOTUNE_CPUS": "4", "OPENBLAS_CORETYPE": "Haswell"}
    assert settings.interpreters == (Interpreter(python="/opt/app/bin/python", environment=environment),)
    assert settings.idle.quiet_seconds == 30.0
    assert (settings.exclude, settings.daily_cpu_seconds, settings.store) == (("blender",), 600.0, "/nfs/autotune")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("idel: {}", "idel: there is no such field; the fields are interpreters, idle,"),
        ("interpreters: []", "interpreters: expected at least one interpreter, found []."),
        ("interpreters: [{python: python3}]", "interpreters[0].python: expected an absolute path, found 'python3'."),
        (
            "interpreters: [{python: /p, environment: {PATH=x: y}}]",
            "interpreters[0].environment.PATH=x: expected the name of an environment variable",
        ),
        ("idle: {start_below: -1}", "idle.start_below: expected a number above 0, found -1."),
        ("idle: {start_below: 2, stop_above: 1}", "idle.stop_above: expected more than start_below (2), found 1.0."),
        ('hours: ["25:00-26:00"]', 'hours[0]: expected a time such as "22:00-06:00"'),
        ("exclude: [/usr/bin/x]", "exclude[0]: expected the name of a program, without a folder"),
        ("metrics: here.prom", "metrics: expected an absolute path"),
        ("a: &x 1", "an anchor (&) is not allowed (line 1)."),
        ("- 1", "the document: expected a mapping of names to values, found [1]."),
        ("idle: [", "it is not YAML:"),
    ],
)
def test_a_broken_file_is_refused_with_its_place(file, text, said):
    with pytest.raises(UsageError) as refused:
        read(file, text)
    assert str(refused.value).startswith(f"{file}: {said}")


def test_a_file_that_others_can_write_is_refused_since_it_names_programs(file):
    file.write_text("", "utf-8")
    file.chmod(0o666)
    with pytest.raises(UsageError, match="can be written by"):
        load_settings(file)


def test_a_folder_or_a_pipe_in_its_place_is_refused(file):
    os.mkfifo(file)
    with pytest.raises(UsageError, match="it is not a regular file"):
        load_settings(file)


def test_the_store_is_named_once_for_all_verbs(file, monkeypatch):
    file.with_name("config.yaml").write_text("store: /nfs/autotune\ntrust: any\n", "utf-8")
    assert load_settings(file).store == "/nfs/autotune"
    monkeypatch.setenv("AUTOTUNE_STORE", "/elsewhere")
    assert load_settings(file).store == "/elsewhere"


def test_hours_may_go_past_midnight():
    night = AllowedHours.from_text("fri 22:00-06:00")
    friday, saturday = datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC)
    assert night.contain(friday.replace(hour=23))
    assert night.contain(saturday.replace(hour=5))
    assert not night.contain(friday.replace(hour=5))
    assert not night.contain(saturday.replace(hour=23))


@given(st.text(max_size=30))
def test_any_other_text_is_no_time(text):
    try:
        AllowedHours.from_text(text)
    except ValueError as refused:
        assert str(refused).startswith("expected a time")  # noqa: PT017 - most texts are refused


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda each: st.lists(each) | st.dictionaries(st.sampled_from(["idle", "python", "hours", "store"]), each),
        max_leaves=8,
    )
)
def test_any_other_document_is_refused_with_a_sentence_or_understood(document):
    try:
        assert isinstance(decode(DaemonSettings, document), DaemonSettings)
    except BadDocument as refused:
        assert str(refused)  # noqa: PT017


# --- the spool --------------------------------------------------------------------------------

SVD = operation("svd", n=500)
NAMED = {"name": "svd", "sizes": {"m": 500, "n": 500}}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "spool").mkdir()
    return tmp_path / "spool"


def leave_in(folder, content, name="1-1.json"):
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


def taken(folder, **words):
    return spool.read_spool(folder, **{"shared": False, "undeletable": set(), **words})


def test_what_a_program_leaves_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOTUNE_STATE_DIR", str(tmp_path))
    demand = Demand()
    demand.add(SVD, 7)
    leave(demand, [])
    assert taken(folders.user_spool()).calls == {SVD: 7}
    assert list(folders.user_spool().iterdir()) == []


def test_counts_of_several_programs_add_up(folder):
    for number in range(3):
        leave_in(folder, spool_text({SVD: 2}), f"{number}-1.json")
    assert taken(folder).calls == {SVD: 6}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "it is not JSON."),
        ("\0", "it is not JSON."),
        ("[" * 100_000, "it is not JSON."),
        ("[]", "its format is not known."),
        ({"format": 1, "calls": []}, "its format is not known."),
        ("x" * 300_000, "it is larger than 262144 bytes."),
    ],
)
def test_garbage_is_said_and_removed(folder, content, why):
    path = leave_in(folder, content)
    assert taken(folder).refused == [f"{path}: {why}"]
    assert not path.exists()


@pytest.mark.parametrize(
    "row",
    [
        [NAMED | {"name": "../svd"}, 1],
        [NAMED | {"dtype": ["float64"]}, 1],
        [NAMED | {"sizes": {"m": -1}}, 1],
        [NAMED | {"sizes": []}, 1],
        [NAMED, True],
        [NAMED, 0],
        [NAMED, 10**30],
        [NAMED],
        7,
    ],
)
def test_a_file_with_a_row_that_makes_no_sense_counts_for_nothing(folder, row):
    path = leave_in(folder, {"format": FORMAT, "calls": [[NAMED, 1], row]})
    content = taken(folder)
    assert content.calls == {}
    assert content.refused[0].startswith(f"{path}: calls")


@pytest.mark.parametrize(
    "named", [NAMED | {"name": "my_function"}, NAMED | {"sizes": {"dtype": 1}}, NAMED | {"dtype": "int8"}]
)
def test_what_is_no_operation_of_the_catalogue_is_left_out(folder, named):
    leave_in(folder, {"format": FORMAT, "calls": [[named, 1], [NAMED, 1]]})
    assert taken(folder).calls == {SVD: 1}


def test_links_and_pipes_are_not_followed(folder, tmp_path):
    (tmp_path / "secret").write_text("{}", "utf-8")
    (folder / "1-1.json").symlink_to(tmp_path / "secret")
    os.mkfifo(folder / "1-2.json")
    os.link(tmp_path / "secret", folder / "1-3.json")
    reasons = [why.partition(": ")[2] for why in taken(folder).refused]
    assert reasons == [
        "it is a symbolic link; only the file itself is read.",
        "it is not a regular file.",
        "it has another name elsewhere.",
    ]
    assert (tmp_path / "secret").exists()


def test_a_mutant_in_the_spool_only_puts_operations_of_the_catalogue_forward(folder):
    text = spool_text({SVD: 5}, {SVD: 7}, {SVD: 3})
    for mutant in mutants(text.encode()):
        (folder / "1-1.json").write_bytes(mutant)
        content = taken(folder)
        assert not list(folder.iterdir())
        named = [*content.calls, *content.used, *content.dropped]
        assert all(size == operation(size.name, dtype=size.dtype, **size.size) for size in named)
        counts = [*content.calls.values(), *content.used.values()]
        assert all(type(calls) is int and calls > 0 for calls in counts)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_another_user_s_files_count_in_a_shared_spool_only(folder):
    os.chown(leave_in(folder, spool_text({SVD: 1})), 12345, 12345)
    assert [why.partition(": ")[2] for why in taken(folder).refused] == [
        "it belongs to user 12345, who is neither you nor root."
    ]
    os.chown(leave_in(folder, spool_text({SVD: 1})), 12345, 12345)
    assert taken(folder, shared=True).calls == {SVD: 1}


def test_a_file_that_cannot_be_removed_counts_once(folder, monkeypatch):
    leave_in(folder, spool_text({SVD: 1}))

    def refuse(_):
        raise PermissionError

    monkeypatch.setattr(Path, "unlink", refuse)
    undeletable = set()
    assert taken(folder, undeletable=undeletable).calls == {SVD: 1}
    assert taken(folder, undeletable=undeletable).calls == {}


def test_unfinished_files_are_left_to_their_writer_and_swept_when_old(folder):
    young, old = leave_in(folder, "{", ".1.json"), leave_in(folder, "{", ".2.json")
    os.utime(old, (time.time() - 7200,) * 2)
    assert taken(folder).refused == []
    assert (young.exists(), old.exists()) == (True, False)


def test_an_unfinished_file_from_the_future_is_not_removed(folder):
    path = leave_in(folder, "{", ".1.json")
    os.utime(path, (time.time() + 86400,) * 2)
    taken(folder)
    assert not path.exists()


def test_hidden_files_keep_no_others_from_being_read(folder):
    for number in range(2 * spool.MAX_FILES):
        leave_in(folder, "{", f".{number}.json")
    leave_in(folder, spool_text({SVD: 1}))
    assert taken(folder).calls == {SVD: 1}


def test_a_folder_in_the_spool_is_said_once_and_passed_by(folder):
    (folder / "1.json" / "inside").mkdir(parents=True)
    leave_in(folder, spool_text({SVD: 1}), "2.json")
    undeletable = set()
    first = taken(folder, undeletable=undeletable)
    assert (len(first.refused), first.calls) == (1, {SVD: 1})
    assert taken(folder, undeletable=undeletable).refused == []


def test_thousands_of_files_are_taken_in_several_visits(folder):
    for number in range(250):
        leave_in(folder, spool_text({SVD: 1}), f"{number}.json")
    visits = [sum(taken(folder).calls.values()) for _ in range(4)]
    assert visits == [100, 100, 50, 0]


def test_a_flood_of_names_is_listed_up_to_a_limit(folder):
    for number in range(20):
        leave_in(folder, "{", f"{number}.json")
    assert len(taken(folder, max_names=7).refused) == 7


def test_names_that_are_no_text_do_no_harm(folder):
    (Path(os.fsdecode(os.fsencode(folder) + b"/\xff\n.json"))).write_text("{", "utf-8")
    (refused,) = taken(folder).refused
    assert json.loads(json.dumps(refused)) == refused
    assert list(folder.iterdir()) == []


def test_calls_that_an_entry_covers_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOTUNE_STATE_DIR", str(tmp_path))
    demand = Demand()
    demand.add(SVD, 7, covered=True)
    leave(demand, [])
    counts = taken(folders.user_spool())
    assert (counts.calls, counts.used) == ({}, {SVD: 7})


def test_without_a_spool_there_is_nothing(tmp_path):
    assert taken(tmp_path / "none").calls == {}


# --- a recorded machine -----------------------------------------------------------------------


def supply(root, name, **values):
    folder = root / "sys/class/power_supply" / name
    folder.mkdir(parents=True)
    for key, value in values.items():
        (folder / key).write_text(f"{value}\n", "utf-8")


def test_a_laptop_without_its_cable_runs_is_on_battery(tmp_path):
    supply(tmp_path, "BAT0", type="Battery", status="Discharging")
    supply(tmp_path, "AC", type="Mains", online=0)
    assert is_on_battery(tmp_path) is True


def test_a_laptop_on_its_cable_does_not(tmp_path):
    supply(tmp_path, "BAT0", type="Battery", status="Charging")
    supply(tmp_path, "AC", type="Mains", online=1)
    assert is_on_battery(tmp_path) is False


def test_the_battery_of_a_mouse_is_not_the_machine_s(tmp_path):
    supply(tmp_path, "hid", type="Battery", scope="Device", status="Discharging")
    assert is_on_battery(tmp_path) is None


def test_a_server_says_nothing_of_power(tmp_path):
    assert is_on_battery(tmp_path) is None


def test_a_cpu_that_was_slowed_down_because_of_heat_is_an_obstacle(tmp_path):
    count = tmp_path / "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count"
    count.parent.mkdir(parents=True)
    count.write_text("3\n", "utf-8")
    moments = iter([0.0, 10.0, 20.0])
    world = MachineSensors(tmp_path, clock=lambda: next(moments))
    world.sample(0.5, measuring=False)
    assert world.sample(0.5, measuring=False).obstacle is None
    count.write_text("4\n", "utf-8")
    assert world.sample(0.5, measuring=False).obstacle == "The CPU is throttled because it is hot."


def test_where_nothing_is_recorded_nothing_is_known(tmp_path):
    assert throttle_count(tmp_path) is None
    moments = iter([0.0, 10.0])
    world = MachineSensors(tmp_path, clock=lambda: next(moments))
    assert world.sample(0.5, measuring=False) is None
    sample = world.sample(0.5, measuring=False)
    assert (sample.foreign_cpus, sample.waiting, sample.obstacle) == (None, None, None)


def test_a_kernel_without_pressure_information_is_judged_by_its_cpu_time(tmp_path):
    proc = tmp_path / "proc"
    (proc / str(os.getpid())).mkdir(parents=True)
    own = f"{os.getpid()} (python) S " + " ".join(["0"] * 40)
    (proc / str(os.getpid()) / "stat").write_text(own, "utf-8")
    moments = iter([0.0, 10.0])
    world = MachineSensors(tmp_path, clock=lambda: next(moments))
    (proc / "stat").write_text("cpu  1000 0 0 1000 0 0 0 0 0 0\n", "utf-8")
    world.sample(0.5, measuring=False)
    (proc / "stat").write_text("cpu  2000 0 0 1000 0 0 0 0 0 0\n", "utf-8")
    sample = world.sample(0.5, measuring=False)
    assert sample.foreign_cpus == pytest.approx(1.0, abs=0.05)
    assert sample.waiting is None


def test_a_program_is_known_by_the_name_that_the_kernel_gives_it(tmp_path):
    for pid, name in (("7", "bash"), ("8", "a-very-long-nam")):
        (tmp_path / "proc" / pid).mkdir(parents=True)
        (tmp_path / "proc" / pid / "comm").write_text(f"{name}\n", "utf-8")
    world = MachineSensors(tmp_path)
    assert world.running_program(["blender"]) is None
    assert world.running_program(["blender", "a-very-long-name"]) == "a-very-long-name"


# --- what the daemon of all users leaves ------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_programs_believe_the_user_whom_root_made_the_keeper_and_no_other_user(tmp_path, monkeypatch):
    path = tmp_path / "node" / "profiles" / "mine.yaml"
    profile_files.write(profile(), path)
    os.chown(path.parent, 12345, 12345)
    os.chown(path, 12345, 12345)
    with pytest.raises(ProfileError, match="belongs to user 12345"):
        profile_files.read(path, Layer.USER)
    monkeypatch.setattr(profile_files, "NODE_FOLDER", str(tmp_path / "node"))
    with pytest.raises(ProfileError, match="belongs to user 12345"):
        profile_files.read(path, Layer.USER)
    os.chown(tmp_path / "node", 12345, 12345)
    assert profile_files.read(path, Layer.USER) == profile()


def test_demand_goes_into_the_spool_of_the_computer_s_daemon_if_there_is_one(tmp_path, monkeypatch):
    monkeypatch.delenv("AUTOTUNE_STATE_DIR", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(folders, "_NODE_SPOOL", str(tmp_path / "spool"))
    place, mode = folders.spool()
    assert (place.parent, mode) == (tmp_path / "state" / "autotune", 0o600)
    (tmp_path / "spool").mkdir()
    demand = Demand()
    demand.add(SVD, 7)
    leave(demand, [])
    assert taken(tmp_path / "spool", shared=True).calls == {SVD: 7}
