"""The copy that apply() reads: fitted, ordered, compiled, and compiled again whenever something changes."""

import json
import os
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from support.profile_builders import alone, make_entry, of_this_machine, with_evidence

from autotune.intercept.array_loops import CLASSES
from autotune.intercept.operations import LOOP_DTYPES, LOOP_KINDS, PLACEMENTS, Range
from autotune.model.configuration import Configuration, Placement
from autotune.model.entry import Status
from autotune.model.operation import DTYPES, Operation
from autotune.model.profile import Provenance
from autotune.profiles import compiled_copy, folders, profile_files
from autotune.profiles.lookup import Level
from autotune.profiles.resolve import profile_paths, resolve

QR = Operation(name="qr", sizes=(("m", 100), ("n", 100)))
ONE = {"blas_threads": 1}
ONE_WORKER = Configuration(workers=1)
BUDGET = "The time allowed ended before its turn."


@pytest.fixture(autouse=True)
def no_other_profiles(monkeypatch, tmp_path):
    alone(monkeypatch, tmp_path)


def write(made, path=None):
    path = path or folders.user_profiles() / "mine.yaml"
    profile_files.write(made, path)
    return path


def entry(**more):
    return make_entry(choice=ONE, safe=(1,), m=100, n=100, **more)


def chosen(match):
    return Configuration() if match is None else match.entry.choice


def copies():
    return sorted(Path(folders.cache_dir()).glob("*"))


def test_with_no_profile_nothing_is_claimed_and_nothing_refused():
    resolution = resolve()
    assert resolution.find(QR) is None
    assert resolution.refusals == ()
    assert resolution.threads is None


def test_an_entry_is_found_with_its_level_and_source():
    path = write(of_this_machine(entry()))
    match = resolve().find(QR)
    assert (match.entry.choice, match.level, match.path) == (Configuration(blas_threads=1), Level.HOST, str(path))


def test_the_compiled_copy_gives_the_same_as_the_profile():
    made = of_this_machine(entry(), make_entry("log", n=1000), make_entry("share", choice={"method": "memfd"}, n=5))
    write(made)
    first, second = resolve(), resolve()
    assert [match.entry for match in first.entries()] == [match.entry for match in second.entries()]
    assert {match.entry.operation for match in second.entries()} == {entry.operation for entry in made.entries}
    assert (second.threads, second.threads_why) == (first.threads, first.threads_why) == (1, first.threads_why)


def test_the_nearest_profile_speaks_first_whatever_its_operations_are_called(tmp_path):
    write(of_this_machine(make_entry("add", n=1000)), tmp_path / "system/site.yaml")
    path = write(of_this_machine(entry()))
    assert [match.path for match in resolve().entries()] == [str(path), str(tmp_path / "system/site.yaml")]


def test_the_second_time_the_profile_is_not_read(monkeypatch):
    write(of_this_machine(entry()))
    resolve()
    monkeypatch.setattr("autotune.profiles.profile_files.read", None)
    assert resolve().find(QR) is not None


@pytest.mark.parametrize(
    ("variable", "inside"),
    [("AUTOTUNE_PROFILE", ""), ("XDG_CONFIG_HOME", "autotune/profiles"), ("AUTOTUNE_STATE_DIR", "cluster")],
)
def test_programs_with_other_folders_of_profiles_keep_copies_of_their_own(monkeypatch, tmp_path, variable, inside):
    """Two services with a profile each, or two installations, would make one copy again at every start."""
    for folder in ("one", "two"):
        write(of_this_machine(entry()), tmp_path / folder / inside / "profile.yaml")
        monkeypatch.setenv(variable, str(tmp_path / folder))
        resolve()
    monkeypatch.setattr("autotune.profiles.profile_files.read", None)
    for folder in ("one", "two"):
        monkeypatch.setenv(variable, str(tmp_path / folder))
        resolve()


def test_a_changed_profile_is_read_again():
    write(of_this_machine(entry()))
    resolve()
    write(of_this_machine(make_entry(m=100, n=100)))
    assert resolve().find(QR).entry.choice == Configuration()


def test_a_profile_that_is_changed_in_place_with_size_and_time_kept_is_read_again():
    path = write(of_this_machine(entry()))
    before = path.stat()
    assert resolve().find(QR) is not None
    text = path.read_text()
    path.write_text(text.replace("status: tuned", "status: noisy"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert resolve().find(QR) is None


def test_a_profile_whose_mode_changes_is_looked_at_again():
    path = write(of_this_machine(entry()))
    assert resolve().find(QR) is not None
    path.chmod(0o666)
    resolution = resolve()
    assert resolution.find(QR) is None
    assert [refusal.reason for refusal in resolution.refusals] == [
        "it can be written by everybody; `chmod go-w` makes it trustworthy."
    ]


def test_a_named_profile_goes_before_the_users(tmp_path, monkeypatch):
    write(of_this_machine(entry()))
    named = write(of_this_machine(make_entry(m=100, n=100)), tmp_path / "named.yaml")
    assert resolve(named).find(QR).level is Level.EXPLICIT
    assert resolve(named).find(QR).entry.choice == Configuration()
    assert resolve().find(QR).entry.choice == Configuration(blas_threads=1)
    monkeypatch.setenv("AUTOTUNE_PROFILE", str(named))
    assert resolve().find(QR).level is Level.EXPLICIT


def test_a_named_folder_stands_for_the_profiles_in_it(tmp_path):
    write(of_this_machine(entry()), tmp_path / "folder" / "one.yaml")
    (tmp_path / "folder" / ".two.yaml").write_text("no profile")
    (tmp_path / "folder" / "notes.txt").write_text("no profile")
    resolution = resolve(tmp_path / "folder")
    assert resolution.find(QR).level is Level.EXPLICIT
    assert resolution.refusals == ()


def test_outside_one_profiles_range_the_next_level_decides(tmp_path):
    write(of_this_machine(entry()))
    shipped = make_entry(choice=ONE, m=10, n=10), make_entry(choice=ONE, m=1000, n=1000)
    write(of_this_machine(*shipped), tmp_path / "shipped" / "class.yaml")
    assert resolve().find(QR).path.endswith("mine.yaml")
    assert resolve().find(Operation(name="qr", sizes=(("m", 500), ("n", 500)))).path.endswith("class.yaml")


def test_the_nearer_level_alone_votes_for_the_process_wide_count(tmp_path):
    write(of_this_machine(entry()))
    write(of_this_machine(make_entry(m=100, n=100)), tmp_path / "shipped" / "class.yaml")
    assert resolve().threads == 1


@pytest.mark.parametrize("name", ["none.yaml", "folder"])
def test_a_named_place_without_profiles_is_refused_with_a_reason(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (refusal,) = resolve(tmp_path / name).refusals
    assert refusal.path == str(tmp_path / name)
    assert refusal.reason


def test_the_copy_tells_of_a_named_profile_that_is_not_used_without_being_parsed(tmp_path, monkeypatch):
    named = tmp_path / "two\tlines\n\udcff.yaml"
    (sentence,) = resolve(named).unused_named
    monkeypatch.setattr(json, "loads", lambda _: pytest.fail("it was parsed"))
    monkeypatch.setattr(profile_files, "read", lambda *_, **__: pytest.fail("it was compiled again"))
    assert resolve(named).unused_named == (sentence,)
    assert "two lines \udcff.yaml is not used" in sentence


def test_a_named_file_of_the_users_folder_is_listed_once():
    named = write(of_this_machine(entry()))
    assert profile_paths(named) == [(folders.Layer.NAMED, str(named))]


def test_a_corrupt_profile_is_refused_and_the_others_count(tmp_path):
    write(of_this_machine(entry()))
    (folders.user_profiles() / "a.yaml").write_text("{")
    resolution = resolve()
    assert resolution.find(QR) is not None
    assert "not YAML" in resolution.refusals[0].reason


def test_an_entry_of_another_allocation_is_refused_by_name(monkeypatch):
    made = of_this_machine(make_entry("log", choice={"workers": 4096}, n=10), entry())
    write(made)
    monkeypatch.setenv("AUTOTUNE_CPUS", "1")
    resolution = resolve()
    if made.key.usable_cpus == 1:
        assert resolution.find(QR).level is Level.HOST
    else:
        assert resolution.find(QR).level is Level.ALLOCATION
        assert [refusal.entry for refusal in resolution.refusals] == ["log float64 n=10"]
        assert resolution.threads is None


def test_a_refused_entry_stands_between_its_neighbours():
    """Else its size would be taken to lie between sizes that agree, and get the choice that it lost with."""
    made = of_this_machine(
        make_entry("log", choice={"workers": 1}, n=10),
        make_entry("log", choice={"workers": 4096}, n=100),
        make_entry("log", choice={"workers": 1}, n=1000),
    )
    write(replace(made, key=replace(made.key, usable_cpus=4096)))
    resolution = resolve()
    at = {n: chosen(resolution.find(Operation(name="log", sizes=(("n", n),)))) for n in (10, 50, 100, 500, 1000)}
    assert at == {10: ONE_WORKER, 50: Configuration(), 100: Configuration(), 500: Configuration(), 1000: ONE_WORKER}


def test_a_noisy_entry_leaves_the_word_to_the_next_level(tmp_path):
    write(of_this_machine(make_entry(status=Status.NOISY, m=100, n=100)))
    assert resolve().find(QR).entry.status is Status.NOISY
    write(of_this_machine(entry()), tmp_path / "shipped" / "class.yaml")
    assert resolve().find(QR).entry.choice == Configuration(blas_threads=1)


def test_a_size_that_no_measured_ones_enclose_is_refused_with_the_reason():
    small, wide = {"n": 8, "count": 10_000}, {"n": 32, "count": 1000}
    write(of_this_machine(make_entry("stack_svd", **small), make_entry("stack_svd", **wide)))
    match, (passed,) = resolve().look_up(Operation(name="stack_svd", sizes=(("n", 16), ("count", 2000))))
    assert match is None
    assert passed.reason == "No sizes that it was measured for lie on both sides of n=16, count=2000."


def test_an_entry_whose_time_ended_leaves_the_word_to_the_next_level(tmp_path):
    """Else a calibration on a busy machine would hide what was proved before, at its sizes and between them."""
    large = {"m": 300, "n": 300}
    out_of_time = [
        replace(make_entry(status=Status.UNDECIDED, **sizes), reason=BUDGET) for sizes in ({"m": 100, "n": 100}, large)
    ]
    write(of_this_machine(*out_of_time))
    assert resolve().find(QR).entry.reason == BUDGET
    proved = of_this_machine(entry(), make_entry(choice=ONE, safe=(1,), **large))
    write(proved, tmp_path / "shipped" / "class.yaml")
    resolution = resolve()
    between = Operation(name="qr", sizes=(("m", 200), ("n", 200)))
    assert [chosen(resolution.find(size)) for size in (QR, between)] == [Configuration(blas_threads=1)] * 2


def test_what_the_mirror_holds_is_used_if_two_hosts_confirm_it():
    confirmed = replace(of_this_machine(with_evidence(entry(), hosts=2)), provenance=Provenance())
    write(confirmed, folders.cluster_profiles() / "class.yaml")
    assert resolve().find(QR).level is Level.CLASS
    write(replace(confirmed, entries=(with_evidence(entry(), hosts=1),)), folders.cluster_profiles() / "class.yaml")
    resolution = resolve()
    assert resolution.find(QR) is None
    assert "No second host" in resolution.refusals[0].reason


def test_what_hosts_disagree_about_is_a_size_where_no_count_is_safe():
    """Else a count for the whole process would be set that is known to be slower on one of them."""
    pair = (with_evidence(entry(), hosts=2), with_evidence(make_entry("solve", choice=ONE, safe=(1,), n=9), hosts=2))
    place = folders.cluster_profiles() / "class.yaml"
    write(replace(of_this_machine(*pair), provenance=Provenance()), place)
    assert resolve().threads == 1
    contested = of_this_machine(pair[0], with_evidence(pair[1], contested=True))
    write(replace(contested, provenance=Provenance()), place)
    assert resolve().threads is None
    unconfirmed = of_this_machine(pair[0], with_evidence(pair[1], hosts=1))
    write(replace(unconfirmed, provenance=Provenance()), place)
    assert resolve().threads == 1


def test_nearer_entries_that_do_not_speak_are_told():
    write(of_this_machine(entry()))
    resolution = resolve()
    assert resolution.look_up(QR) == (resolution.find(QR), [])
    nothing, (passed,) = resolution.look_up(Operation(name="qr", sizes=(("m", 5), ("n", 5))))
    assert nothing is None
    assert passed.reason == "It was measured for m=100, n=100; outside nothing is claimed."


def test_entries_of_other_hosts_in_one_home_are_not_parsed():
    """A home that a hundred hosts share: each writes a profile of its own there."""
    others = [f"{number:016x}" for number in range(3)]
    for host in others:
        made = of_this_machine(entry())
        path = write(replace(made, provenance=Provenance(host=host)), folders.user_profiles() / f"{host}.yaml")
        path.write_text(path.read_text().replace("status: tuned", "status: unheard-of"))
    write(of_this_machine(entry()))
    resolution = resolve()
    assert resolution.find(QR).level is Level.HOST
    reasons = [refusal.reason for refusal in resolution.refusals]
    assert ["provenance.host" in reason for reason in reasons] == [True] * 3


def test_a_profile_of_a_future_version_is_refused_and_the_others_count():
    path = write(of_this_machine(entry()))
    later = path.read_text("utf-8").replace("schema: 2", "schema: 3").replace("status:", "verdict:")
    path.with_name("later.yaml").write_text(later, "utf-8")
    resolution = resolve()
    assert resolution.find(QR) is not None
    assert "newer autotune" in resolution.refusals[0].reason


def test_a_file_under_the_name_of_another_class_is_judged_by_its_key():
    """Names of files are cut off hashes: two classes may share one."""
    own = of_this_machine(entry())
    other = replace(own, key=replace(own.key, hardware=replace(own.key.hardware, l2_bytes=7)))
    write(other, folders.user_profiles() / f"{own.key.slug}.yaml")
    resolution = resolve()
    assert resolution.find(QR) is None
    assert resolution.refusals[0].reason.startswith("key.hardware.l2_bytes: the profile has 7, ")


def damaged(path):
    return [
        b"",
        b"{",
        b"[]\n",
        b"null\n\n",
        b'{"format":1}\n',
        path.read_bytes()[:-5],
        path.read_bytes().replace(b"qr", b"qx"),
        b"\xff" * 100,
        b"[" * 100_000,
    ]


@pytest.mark.parametrize("number", range(9))
def test_a_corrupt_copy_is_made_again(number):
    write(of_this_machine(entry()))
    resolve()
    (path,) = copies()
    good = path.read_bytes()
    path.write_bytes(damaged(path)[number])
    assert resolve().find(QR) is not None
    assert path.read_bytes() == good


def reseal(path, **changes):
    """Change lines of a copy's head, or all that follows it, under a valid checksum."""
    _, *head, body = path.read_bytes().split(b"\n", 8)
    lines = {"loops": 4, "body": 7}
    parts = [*head, body]
    for name, text in changes.items():
        parts[lines[name]] = text
    rest = b"\n".join(parts)
    path.write_bytes(f"autotune {compiled_copy.FORMAT} {zlib.crc32(rest):08x}\n".encode() + rest)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"{}\n",
        b"[1]\nqr float64\t1\n",
        b'[[1,2,3,4]]\nqr float64\t[["this-host",1,2,[]]]\n',
        b"qr float64\t[",
        b"[]\nqr float64\t[",
        b"[]\nqr float64\t[\n",
        b"[]\nqr float64\t{}\n[]",
        b"[\nqr float64\t" + b"[" * 100_000 + b"\n",
        b'[]\nqr float64\t[["this-host","a","b",[{"sizes":7}]]]\n',
        b"[]\n\xff float64\t[]\nqr float64\t[1]\n",
    ],
)
@pytest.mark.parametrize("question", ["find", "entries", "operations"])
def test_a_copy_whose_entries_cannot_be_read_is_made_again(body, question):
    write(of_this_machine(entry()))
    good = resolve()
    (path,) = copies()
    content = path.read_bytes()
    reseal(path, body=body)
    ask = {
        "find": lambda it: it.find(QR).entry,
        "entries": lambda it: [match.entry for match in it.entries()],
        "operations": lambda it: it.operations(),
    }[question]
    assert ask(resolve()) == ask(good)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "plan",
    [
        "functions float64 1 1:1:2:x",
        "loop_exp float64 1 1:1:2:",
        "functions int8 1 1:1:2:",
        "functions float64 4 1:1:2:",
        "functions float64 1",
        "functions float64 1 0:1:2:",
        "functions float64 1 1:0:2:",
        "functions float64 1 1:1:0:",
        "functions float64 1 1:1:99999999999:",
        f"functions float64 1 {2**70}:1:2:",
        "functions float64 1 9:1:2: 9:1:2:",
        "functions float64 1 " + " ".join(f"{n}:1:2:" for n in range(1, 18)),
    ],
)
def test_a_copy_with_a_plan_of_loops_that_cannot_be_is_made_again(plan):
    write(of_this_machine(entry()))
    resolve()
    (path,) = copies()
    content = path.read_bytes()
    reseal(path, loops=plan.encode())
    assert list(resolve().loops) == []
    assert path.read_bytes() == content


def test_a_plan_of_loops_that_can_be_is_taken_from_the_copy():
    write(of_this_machine(entry()))
    resolve()
    (path,) = copies()
    reseal(path, loops=b"functions float64 1 1:1:2:cores 9:3:4:")
    (plan,) = resolve().loops
    assert plan.ranges == (Range(1, 1, 2, "cores"), Range(9, 3, 4))


def test_the_words_of_plans_are_those_of_loops_and_of_the_model():
    assert (*CLASSES, "reductions") == LOOP_KINDS
    assert set(LOOP_DTYPES) == set(DTYPES)
    assert set(PLACEMENTS) == {"", *Placement}


@pytest.mark.skipif(os.name != "posix", reason="this system has no POSIX modes")
def test_a_copy_that_others_may_write_is_not_believed():
    write(of_this_machine(entry()))
    resolve()
    (path,) = copies()
    path.chmod(0o666)
    assert compiled_copy.load(str(path)) is None
    assert resolve().find(QR) is not None
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_cache_that_cannot_be_written_costs_time_and_nothing_else(tmp_path):
    write(of_this_machine(entry()))
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert resolve().find(QR) is not None
    assert resolve().find(QR) is not None


def test_copies_that_no_one_used_for_long_are_deleted():
    folder = Path(folders.cache_dir())
    folder.mkdir(parents=True)
    for name in ("applied-0", "other.json"):
        (folder / name).touch()
        os.utime(folder / name, (0, 0))
    resolve()
    assert "applied-0" not in [path.name for path in copies()]
    assert "other.json" in [path.name for path in copies()]


def test_a_size_in_between_is_chosen_from_what_the_copy_keeps_of_both_neighbours():
    two, four, eight = ({"blas_threads": count} for count in (2, 4, 8))
    small = make_entry(choice=two, speedup=5, others=[(four, 4.5), (eight, 1.1)], m=100, n=100)
    large = make_entry(choice=eight, speedup=5, others=[(four, 4.5), (two, 1.1)], m=400, n=400)
    write(of_this_machine(small, large))
    first, again = (resolve().find(Operation(name="qr", sizes=(("m", 200), ("n", 200)))) for _ in range(2))
    assert first.entry.choice == again.entry.choice == Configuration(blas_threads=4)


def test_ten_thousand_entries_are_there_and_only_what_is_asked_is_parsed(monkeypatch):
    """Ten thousand entries pass the limits of the project's own reader, too."""
    sizes = [make_entry(f"op_{n // 50}", choice=ONE, safe=(1, 2, 4), m=n % 50 + 1, n=128) for n in range(10_000)]
    write(of_this_machine(*sizes))
    resolve()
    parsed = []
    real = json.loads
    monkeypatch.setattr(json, "loads", lambda text: parsed.append(len(text)) or real(text))
    resolution = resolve()
    assert resolution.find(Operation(name="op_150", sizes=(("m", 7), ("n", 128)))).entry.choice == Configuration(
        blas_threads=1
    )
    assert sum(parsed) < 20_000
    assert sum(1 for _ in resolution.entries()) == 10_000
