"""explain() says where every choice comes from, and why others were refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
from support.native import needs_core
from support.profile_builders import make_entry, of_this_machine, with_evidence

import autotune
from autotune.host.usable_cpus import usable_cpus
from autotune.model.allocation import Limit
from autotune.model.configuration import Configuration, Placement
from autotune.model.entry import Status
from autotune.profiles import folders, profile_files
from autotune.profiles.lookup import Level

pytestmark = pytest.mark.usefixtures("fresh")


@pytest.fixture
def own_profile():
    made = of_this_machine(
        make_entry("qr", choice={"blas_threads": 1}, speedup=2, m=128, n=128),
        make_entry("qr", m=2048, n=2048),
        make_entry("log", choice={"workers": 1, "chunk": 1000}, n=1_000_000),
    )
    path = folders.user_profiles() / "mine.yaml"
    profile_files.write(made, path)
    return made, path


def test_every_measured_operation_is_there(own_profile):
    rows = autotune.explain().operations
    assert [row.operation for row in rows] == [
        "log float64 n=1000000",
        "qr float64 m=128 n=128",
        "qr float64 m=2048 n=2048",
    ]
    assert {row.level for row in rows} == {Level.HOST}
    assert {row.source for row in rows} == {str(own_profile[1])}


def test_a_name_or_an_alias_selects(own_profile):
    assert len(autotune.explain("qr").operations) == 2
    assert autotune.explain("mean").operations == ()


def test_sizes_ask_for_the_entry_that_covers_them(own_profile):
    (exact,) = autotune.explain("qr", n=128).operations
    assert (exact.choice, exact.level) == (Configuration(blas_threads=1), Level.HOST)
    (between,) = autotune.explain("qr", n=500).operations
    assert between.reason.startswith("Between measured sizes")
    (outside,) = autotune.explain("qr", n=5).operations
    assert (outside.level, outside.source) == (Level.DEFAULT, None)
    assert outside.reason == "No measured entry covers it."


def test_every_refusal_is_told_with_its_reason(own_profile):
    made, path = own_profile
    other = replace(made, key=replace(made.key, hardware=replace(made.key.hardware, model=9999)))
    profile_files.write(other, path.with_name("other.yaml"))
    (refusal,) = autotune.explain().refusals
    assert refusal.path.endswith("other.yaml")
    assert refusal.reason.startswith("key.hardware.model: the profile has 9999, this machine has ")
    text = " ".join(str(autotune.explain()).split())
    assert f"Not used: {refusal.path} {refusal.reason}" in text


def test_the_text_is_for_people(own_profile):
    explanation = autotune.explain()
    lines = str(explanation).splitlines()
    assert lines[1] == "BLAS threads of the process stay as they are. autotune.apply() was not called."
    assert [line.split() for line in lines if line.startswith(("operation", "qr m=128"))] == [
        ["operation", "level", "choice", "speed-up"],
        ["qr", "m=128", "n=128", "this-host", "[1]", "blas_threads=1", "2.00x"],
    ]
    assert repr(explanation) == str(explanation)


def test_the_text_names_each_profile_once_and_fits_eighty_columns(own_profile):
    made, path = own_profile
    wide = {"workers": 1, "chunk": 2**40, "method": "shared_memory", "allocator": "retain"}
    more = replace(make_entry("a" * 60, choice=wide, n=10), reason="A reason of many words. " * 20)
    profile_files.write(replace(made, entries=(*made.entries, more)), path)
    text = str(autotune.explain())
    assert text.count(str(path)) == 1
    assert [line for line in text.splitlines() if len(line) > 80 and str(path) not in line] == []


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_text_fits_the_terminal_and_states_the_interval_of_each_time(own_profile, width):
    _, path = own_profile
    text = replace(autotune.explain("qr"), held_bytes=2**24).text(width)
    assert [line for line in text.splitlines() if len(line) > width and str(path) not in line] == []
    assert "interval of its speed-up: 1.82 to 2.22." in " ".join(text.split())


@pytest.mark.parametrize("width", [40, 80, 200])
def test_without_a_name_the_choices_are_listed_and_the_rest_is_counted(own_profile, width):
    _, path = own_profile
    text = autotune.explain().text(width)
    assert [line for line in text.splitlines() if len(line) > width and str(path) not in line] == []
    words = " ".join(text.split())
    assert "qr m=128 n=128" in words
    assert "m=2048" not in words
    assert "Made by hand." not in words
    assert "Plain NumPy runs for 1 entry: qr (1). The reasons: `autotune explain NAME`, or" in words


def test_entries_that_are_open_are_counted_among_those_that_run_as_plain_numpy(own_profile):
    made, path = own_profile
    profile_files.write(replace(made, entries=(make_entry("svd", status="undecided", m=8, n=8), made.entries[1])), path)
    explained = autotune.explain()
    assert "Plain NumPy runs for 2 entries, of which 1 is open: qr (1), svd (1)." in " ".join(str(explained).split())
    qr, svd = explained.operations
    learned = replace(explained, operations=(qr, replace(svd, choice=Configuration(blas_threads=1))))
    assert "Plain NumPy runs for 1 entry: qr (1)." in " ".join(str(learned).split())


def test_a_function_that_another_operation_serves_is_told_in_the_answer_and_in_its_values(own_profile):
    explained = autotune.explain("log")
    assert "`autotune explain loop_exp`" in " ".join(str(explained).split())
    assert explained.as_dict()["hint"] == explained.hint
    assert autotune.explain("qr").hint == autotune.explain().hint == ""


def test_a_choice_that_the_environment_holds_down_shows_no_speed_up(own_profile, monkeypatch):
    made, path = own_profile
    choice = make_entry("log", choice={"workers": 2}, n=1000)
    profile_files.write(replace(made, entries=(choice,)), path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (row,) = autotune.explain("log").operations
    assert (row.choice.workers, row.as_dict()["speedup"]) == (1, None)
    assert "by OMP_NUM_THREADS=1" in row.reason
    assert "OMP_NUM_THREADS=1 in the environment holds" in str(autotune.apply())


def test_a_profile_that_keeps_every_default_is_told_in_one_sentence(own_profile):
    made, path = own_profile
    profile_files.write(replace(made, entries=(made.entries[1],)), path)
    lines = str(autotune.explain()).splitlines()
    assert lines[3] == "Plain NumPy runs for 1 entry: qr (1)."
    assert not any(line.startswith("operation") for line in lines)


def test_a_nearer_entry_that_is_refused_is_told_below_the_one_in_use(own_profile, tmp_path):
    made, path = own_profile
    noisy = replace(made.entries[0], status=Status.NOISY, choice=Configuration(), reason="Too busy.")
    profile_files.write(replace(made, entries=(noisy,)), path)
    shipped = tmp_path / "shipped" / "class.yaml"
    profile_files.write(made, shipped)
    (row,) = (operation for operation in autotune.explain("qr").operations if "n=128" in operation.operation)
    assert (row.source, [(refusal.path, refusal.reason) for refusal in row.refused]) == (
        str(shipped),
        [(str(path), "Too busy.")],
    )
    assert "not [2]: Too busy." in str(autotune.explain("qr", n=128))
    assert row.as_dict()["refused"][0]["reason"] == "Too busy."


def test_shipped_profiles_for_other_machines_are_counted(own_profile, tmp_path):
    made, _ = own_profile
    other = replace(made.key, hardware=replace(made.key.hardware, model=9999))
    profile_files.write(replace(made, key=other), tmp_path / "shipped" / "other.yaml")
    text = str(autotune.explain())
    assert "1 shipped profile is for other machines" in text
    assert "9999" not in text


def test_an_operation_of_which_everything_was_refused_is_told_with_the_reason(own_profile):
    made, path = own_profile
    profile_files.write(replace(made, entries=(with_evidence(made.entries[0], interval=(0.67, 2.5)),)), path)
    (row,) = autotune.explain().operations
    assert (row.level, row.source, row.choice) == (Level.DEFAULT, None, Configuration())
    assert "it may be 0.67 times as fast as the default" in " ".join(str(autotune.explain("qr")).split())


def test_memory_that_is_kept_for_results_is_told(own_profile):
    from autotune.parallel import result_memory

    before = result_memory.kept_bytes()
    array = result_memory.empty((2**20,), "float64")
    del array
    assert autotune.explain().held_bytes == result_memory.kept_bytes() >= max(before, 2**23)
    assert "Memory of dropped results kept for new ones: " in str(autotune.explain())
    assert autotune.explain().as_dict()["held_bytes"] == result_memory.kept_bytes()


def test_text_of_a_profile_cannot_act_on_the_terminal(own_profile):
    made, path = own_profile
    profile_files.write(replace(made, entries=(replace(made.entries[0], reason="\x1b[2J"),)), path)
    assert "\x1b" not in str(autotune.explain("log")) + str(autotune.explain("qr"))


def test_without_a_profile_the_text_says_so():
    assert "Nothing that was measured fits" in str(autotune.explain())


def test_the_states_of_the_machine_are_told_where_it_was_not_at_full_capacity(own_profile):
    made, path = own_profile
    busy = with_evidence(made.entries[0], expected_speedup=1.31, full_capacity_share=0.62)
    profile_files.write(replace(made, entries=(busy,)), path)
    explanation = autotune.explain("qr", m=128, n=128)
    text = " ".join(str(explanation).split())
    assert "blas_threads=1 1.31x" in text
    assert "At full capacity (62% of the time) it is 2.00x (1.82 to 2.22)." in text
    assert explanation.operations[0].as_dict()["full_capacity_share"] == 0.62


def test_the_same_can_be_had_as_json(own_profile):
    plain = json.loads(json.dumps(autotune.explain("qr").as_dict()))
    assert plain["operations"][0]["choice"] == {"blas_threads": 1}
    assert plain["operations"][0]["interval"] == pytest.approx([2.0 / 1.1, 2.0 / 0.9], rel=1e-5)
    assert plain["operations"][1]["status"] == "default-kept"
    assert plain["refusals"] == []


def test_a_profile_that_asks_for_more_threads_than_there_are_cpus_is_held_to_them_and_that_is_said():
    usable = usable_cpus()[0]
    made = of_this_machine(
        make_entry("qr", choice={"blas_threads": 64 * usable}, n=128, m=128),
        make_entry("batch_matmul", choice={"blas_threads": usable, "workers": 2 * usable}, n=300, tasks=100),
    )
    profile_files.write(made, folders.user_profiles() / "mine.yaml")
    many, single = autotune.explain("qr", n=128).operations + autotune.explain("batch_matmul", n=300).operations
    assert many.choice == Configuration(blas_threads=usable) == autotune.config("qr", n=128)
    sentence = f"The profile asks for blas_threads={64 * usable}; the {usable} usable CPUs here allow"
    assert f"{sentence} blas_threads={usable}." in many.reason
    assert single.choice == Configuration(blas_threads=1, workers=usable)
    with autotune.executor("batch_matmul", n=300) as pool:
        assert (pool.workers, pool.blas_threads) == (usable, 1)
    assert sentence in " ".join(str(autotune.explain("qr")).split())


@pytest.mark.skipif(usable_cpus()[0] < 2, reason="one CPU has one worker, which is not placed")
@pytest.mark.parametrize(("cpus", "said"), [(None, True), (frozenset({0, 1}), False)])
def test_a_placement_that_these_cpus_have_no_room_for_is_told(monkeypatch, cpus, said):
    monkeypatch.setattr("autotune.runtime.explain.cpus_for", lambda *_: cpus)
    choice = {"workers": 2, "chunk": 1000, "placement": Placement.L3}
    profile_files.write(
        of_this_machine(make_entry("log", choice=choice, n=10**6)), folders.user_profiles() / "mine.yaml"
    )
    (row,) = autotune.explain("log").operations
    assert "placement=l3" in str(row.choice)
    assert row.reason.endswith("no room for placement=l3: workers run anywhere.") is said


@pytest.fixture
def loops_profile(monkeypatch):
    """Entries for additions of one array from 50,000 elements on; functions have none."""
    monkeypatch.setattr("autotune.profiles.resolve.usable_cpus", lambda *_: (2, Limit.NONE))
    choice = {"workers": 2, "chunk": 10_000}
    entries = [make_entry(name, choice=choice, n=n) for name in ("loop_add", "loop_sqrt") for n in (50_000, 500_000)]
    entries += [make_entry("loop_exp", choice=choice, n=50_000)]
    entries += [make_entry("svd", choice={"blas_threads": 1}, speedup=2, m=60, n=60)]
    profile_files.write(of_this_machine(*entries), folders.user_profiles() / "mine.yaml")


@needs_core
@pytest.mark.parametrize(
    ("name", "variables", "rule"),
    [
        ("loop_add", {}, "loops of arithmetic from 50,000 elements on are cut"),
        ("loop_exp", {}, "no such loop is cut: loop_exp, loop_power would all"),
        ("loop_rows", {}, "loop_rows, loop_add, loop_sqrt"),
        ("loop_add", {"AUTOTUNE_NATIVE": "0"}, "run as plain NumPy here: AUTOTUNE_NATIVE=0 turns the C core off."),
        ("loop_add", {"OMP_NUM_THREADS": "1"}, "run as plain NumPy here: OMP_NUM_THREADS=1 leaves them one thread."),
        ("svd", {"AUTOTUNE_NATIVE": "0"}, "calls run as plain NumPy here: AUTOTUNE_NATIVE=0"),
    ],
)
def test_a_loop_is_explained_with_the_size_from_which_on_it_is_cut(loops_profile, monkeypatch, name, variables, rule):
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    (row,) = autotune.explain(name, n=60 if name == "svd" else 60_000).operations
    assert rule in row.reason


@needs_core
def test_loops_that_were_not_cut_are_counted_by_their_reasons(loops_profile):
    x = np.ones(60_000)
    with autotune.apply():
        before = autotune.explain().loops_alone
        np.add(x, x)
        np.add(x[::2], x[::2])  # too short for a plan: not met
        np.multiply(np.ones(120_000)[::2], x)
        np.add.accumulate(x)
        np.add.reduce(x)
        now = autotune.explain()
    gained = {name: count - before[name] for name, count in now.loops_alone.items() if count > before[name]}
    assert (gained["unplanned"], gained["overlapping"], gained["short"]) == (1, 1, 1)
    text = " ".join(str(now).split())
    assert f"{now.loops_alone['unplanned']} that no entry covers by their size and operands" in text
    assert json.loads(json.dumps(now.as_dict()))["per_call"]["loops_alone"] == now.loops_alone


@needs_core
def test_why_no_loop_is_cut_is_told_with_what_is_in_force(loops_profile, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with autotune.apply():
        text = " ".join(str(autotune.explain()).split())
    assert "Loops of ufuncs run as plain NumPy: OMP_NUM_THREADS=1 leaves them one thread." in text
