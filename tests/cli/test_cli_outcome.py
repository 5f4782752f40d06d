"""The path of a profile, and the entries that it is joined with."""

import json
import os
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from support.profile_builders import alone
from support.shown_profiles import EMPTY, FILL, KEY, SVD, USUAL

from autotune.cli import messages, write_outcome
from autotune.errors import EnvironmentProblem, UsageError
from autotune.model.entry import Entry, Evidence, Status
from autotune.model.operation import Operation
from autotune.model.profile import Key, Profile, Provenance
from autotune.profiles import folders, profile_files
from autotune.profiles.entry_merge import join_profiles
from autotune.profiles.profile_document import decode_profile
from autotune.profiles.yaml_subset import parse

SMALL_SVD = replace(SVD, operation=Operation(name="svd", sizes=(("m", 50), ("n", 50))))
NOT_REACHED = Entry(operation=SVD.operation, status=Status.DEFAULT_KEPT, reason="The budget ended.")


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    alone(monkeypatch, tmp_path)


def profile(*entries, key=KEY):
    return Profile(key=key, entries=entries)


def test_without_an_output_the_profile_goes_into_the_users_folder_under_the_name_of_its_machine():
    place = write_outcome.place(KEY, None)
    assert place.parent == folders.user_profiles()
    assert place.name.startswith(KEY.slug)


def test_hosts_with_one_home_folder_each_have_a_file_of_their_own(monkeypatch):
    places = set()
    for host in ("a", "b"):
        monkeypatch.setenv("AUTOTUNE_HOST_ID", host)
        places.add(write_outcome.place(KEY, None))
    assert len(places) == 2


def test_what_another_host_proved_is_not_joined_into_this_ones_profile():
    proved = replace(profile(SVD), provenance=Provenance(host="a", created="2026-01-01"))
    noisy = replace(profile(FILL), provenance=Provenance(host="b", created="2026-01-02"))
    assert join_profiles(proved, noisy) == noisy
    renamed = Provenance(host="b", marks=("boot-1", "system-1"))
    same = replace(profile(FILL), provenance=renamed)
    earlier = replace(proved, provenance=Provenance(host="a", marks=("boot-1", "system-1")))
    assert {entry.operation.name for entry in join_profiles(earlier, same).entries} == {"svd", "fill"}
    clone = replace(proved, provenance=Provenance(host="a", marks=("boot-2", "system-1")))
    assert join_profiles(clone, same) == same


def test_entries_of_other_operations_stay():
    assert join_profiles(profile(FILL), profile(SVD)).entries == (FILL, SVD)


def test_a_new_calibration_replaces_the_sizes_that_it_measured_and_no_others():
    newer = replace(SVD, reason="Newer.")
    assert join_profiles(profile(SMALL_SVD, SVD), profile(newer)).entries == (SMALL_SVD, newer)


def test_what_was_not_reached_replaces_nothing_that_was_measured():
    assert join_profiles(profile(SVD), profile(NOT_REACHED)).entries == (SVD,)


def test_what_was_not_reached_is_said_where_nothing_is_known():
    assert join_profiles(profile(FILL), profile(NOT_REACHED)).entries == (FILL, NOT_REACHED)


def test_nothing_is_kept_of_a_profile_of_another_machine():
    assert join_profiles(profile(FILL, key=Key(usable_cpus=99)), profile(SVD)).entries == (SVD,)


def test_a_profile_is_written_where_it_was_asked_to(tmp_path):
    path = tmp_path / "new" / "mine.yaml"
    kept = write_outcome.keep(USUAL, path)
    assert (kept.path, kept.output, profile_files.read(path).key) == (path, path, USUAL.key)


def test_a_signal_while_a_profile_is_written_waits_for_its_end(tmp_path, monkeypatch):
    write = profile_files.write

    def interrupted(*words):
        signal.raise_signal(signal.SIGINT)
        write(*words)

    monkeypatch.setattr(profile_files, "write", interrupted)
    before, path = signal.getsignal(signal.SIGINT), tmp_path / "mine.yaml"
    with pytest.raises(KeyboardInterrupt):
        write_outcome.keep(profile(SVD), path)
    assert profile_files.read(path).entries == (SVD,)
    assert signal.getsignal(signal.SIGINT) is before


def test_what_is_too_noisy_to_tell_replaces_no_proof():
    noisy = Entry(operation=SVD.operation, status=Status.NOISY, reason="Busy.", evidence=Evidence(default_seconds=1.0))
    assert join_profiles(profile(FILL, SVD), profile(noisy)).entries == (FILL, SVD)


def test_what_had_no_time_for_its_proof_replaces_no_proof_of_before():
    hurried = Entry(
        operation=SVD.operation,
        status=Status.UNDECIDED,
        reason="blas_threads=1 looked 1.1 times as fast.",
        evidence=Evidence(default_seconds=1.0),
    )
    assert join_profiles(profile(FILL, SVD), profile(hurried)).entries == (FILL, SVD)


def test_a_profile_that_is_there_already_is_joined_and_not_lost(tmp_path):
    path = tmp_path / "mine.yaml"
    write_outcome.keep(profile(FILL), path)
    assert [entry.operation.name for entry in write_outcome.keep(profile(SVD), path).profile.entries] == ["fill", "svd"]


def test_a_file_that_became_unreadable_meanwhile_is_kept_aside_and_named(tmp_path, capsys):
    path = tmp_path / "mine.yaml"
    path.write_text("schema: 99\n")
    write_outcome.keep(USUAL, path)
    (aside,) = tmp_path.glob("mine.yaml.*")
    assert (aside.read_text(), str(aside) in capsys.readouterr().err) == ("schema: 99\n", True)


def test_an_output_that_cannot_be_written_loses_nothing(tmp_path):
    (tmp_path / "file").write_text("in the way")
    output = tmp_path / "file" / "mine.yaml"
    kept = write_outcome.keep(USUAL, output)
    assert kept.path == folders.state_dir() / "mine.yaml"
    assert (kept.output, bool(kept.why), profile_files.read(kept.path).entries[0].operation) == (
        output,
        True,
        FILL.operation,
    )


def test_a_profile_that_no_place_takes_is_printed(tmp_path, monkeypatch, capsys):
    def full(profile, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(profile_files, "write", full)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(EnvironmentProblem, match=r"No space left on device.*printed above"):
        write_outcome.keep(USUAL, tmp_path / "mine.yaml")
    assert set(decode_profile(parse(capsys.readouterr().out.encode())).entries) == set(USUAL.entries)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["print('a program')\n", "", "schema: 99\n", "\0"])
def test_a_file_that_is_no_profile_is_never_overwritten(tmp_path, content):
    path = tmp_path / "program.py"
    path.write_text(content)
    with pytest.raises(UsageError, match="not a profile"):
        write_outcome.place(KEY, path)


def test_a_named_pipe_is_refused_at_once(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(UsageError):
        write_outcome.place(KEY, path)


def test_the_end_says_where_the_profile_is_and_that_programs_find_it(capsys):
    kept = write_outcome.keep(USUAL, write_outcome.place(KEY, None))
    write_outcome.tell([kept], finished=True, as_json=False)
    said = capsys.readouterr()
    assert "svd m=500 n=500" in said.out
    assert said.err.splitlines() == [
        f"Tuned: 1 of 2 entries; the default stays for the other 1. The profile is in {kept.path}.",
        messages.how_to_use(kept.path, is_searched=True),
    ]


def test_the_end_says_that_everything_is_switched_off(capsys, monkeypatch):
    monkeypatch.setenv("AUTOTUNE_DISABLE", "1")
    write_outcome.tell([write_outcome.keep(USUAL, write_outcome.place(KEY, None))], finished=True, as_json=False)
    assert capsys.readouterr().err.splitlines()[-1] == messages.SWITCHED_OFF


def test_on_a_terminal_the_end_names_the_report_too(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    write_outcome.tell([write_outcome.keep(USUAL, write_outcome.place(KEY, None))], finished=True, as_json=False)
    assert "report --open" in capsys.readouterr().err.replace("\n", " ")


def test_the_end_of_a_function_s_calibration_names_the_calls_that_apply(capsys):
    own = replace(SVD, operation=Operation(name="smooth", sizes=(("n", 5),)))
    write_outcome.tell([write_outcome.keep(profile(own), write_outcome.place(KEY, None))], finished=True, as_json=False)
    assert 'autotune.tuned("smooth"' in capsys.readouterr().err


def test_the_end_of_an_estimator_s_calibration_names_the_scope_that_uses_it(capsys):
    fit = replace(SVD, operation=Operation(name="k_means", sizes=(("rows", 1000), ("columns", 20))))
    write_outcome.tell([write_outcome.keep(profile(fit), write_outcome.place(KEY, None))], finished=True, as_json=False)
    said = capsys.readouterr().err
    assert 'autotune.tuned("k_means"' in said
    assert "autotune.apply()" not in said
    assert "tuned_call" not in said


def test_where_autotune_is_not_on_the_path_the_next_step_names_it_in_full(tmp_path):
    command = write_outcome.own_command(str(tmp_path))
    assert command.endswith(("/autotune", "-m autotune"))
    assert command.startswith("/")


def test_a_profile_that_programs_do_not_look_for_says_how_to_name_it(tmp_path, capsys):
    path = tmp_path / "mine.yaml"
    write_outcome.tell([write_outcome.keep(USUAL, path)], finished=True, as_json=False)
    assert f"AUTOTUNE_PROFILE={path}" in capsys.readouterr().err


def test_a_profile_in_the_administrators_folder_is_looked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(folders, "system_profiles", lambda: str(tmp_path))
    kept = write_outcome.keep(USUAL, tmp_path / "node.yaml")
    write_outcome.tell([kept], finished=True, as_json=False)
    assert "AUTOTUNE_PROFILE" not in capsys.readouterr().err


def test_only_what_this_run_measured_is_told_and_that_there_is_more(tmp_path, capsys):
    path = tmp_path / "mine.yaml"
    write_outcome.keep(profile(FILL), path)
    write_outcome.tell([write_outcome.keep(profile(SVD), path)], finished=True, as_json=False)
    said = capsys.readouterr()
    assert ("svd m=500" in said.out, "fill" in said.out) == (True, False)
    assert said.err.splitlines()[0].startswith("Tuned: 1 of 1 entry. ")
    assert said.err.splitlines()[1] == "It also holds 1 entry of earlier runs, 0 of them tuned, which stay in use."


def test_entries_that_stayed_undecided_are_counted_and_the_proofs_that_stay_with_them(tmp_path, capsys):
    path = tmp_path / "mine.yaml"
    write_outcome.keep(profile(SVD), path)
    hurried = replace(NOT_REACHED, status=Status.UNDECIDED, reason="The time allowed ended before its turn.")
    write_outcome.tell([write_outcome.keep(profile(hurried), path)], finished=True, as_json=False)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Tuned: 0 of 1 entry; the default stays for all.")
    assert "1 undecided" in lines[1]
    assert lines[1].endswith(f"calibrate {NOT_REACHED.operation.name} --until-decided")
    assert lines[2] == "It also holds 1 entry of earlier runs, 1 of them tuned, which stay in use."


def test_where_others_used_the_cpus_a_quieter_moment_is_advised(tmp_path, capsys):
    noisy = replace(NOT_REACHED, status=Status.NOISY, reason="Too busy.")
    write_outcome.tell([write_outcome.keep(profile(noisy), tmp_path / "mine.yaml")], finished=True, as_json=False)
    said = capsys.readouterr().err
    assert "1 too noisy to tell" in said
    assert "quieter moment" in said
    assert "--until-decided" not in said


def test_entries_at_sizes_that_were_named_are_decided_by_the_same_command(tmp_path, capsys):
    hurried = replace(NOT_REACHED, status=Status.UNDECIDED, reason="The time allowed ended before its turn.")
    kept = write_outcome.keep(profile(hurried), tmp_path / "mine.yaml", sizes_named=True)
    write_outcome.tell([kept], finished=True, as_json=False)
    assert "To decide the rest: the same command with --until-decided." in capsys.readouterr().err


def test_an_entry_that_stays_keeps_the_date_and_the_resolution_of_its_own_run():
    old = Provenance(created="2026-01-01", resolution=0.01, rules_tested=1)
    new = Provenance(created="2026-02-02", resolution=0.09, rules_tested=1)
    first = join_profiles(replace(profile(SVD), provenance=old), replace(profile(FILL), provenance=new))
    assert {entry.operation.name: (entry.evidence.created, entry.evidence.resolution) for entry in first.entries} == {
        "svd": ("2026-01-01", 0.01),
        "fill": (None, None),
    }
    assert (first.provenance.created, first.provenance.resolution) == ("2026-02-02", 0.09)
    third = join_profiles(first, replace(profile(SMALL_SVD), provenance=Provenance(created="2026-03-03")))
    assert [entry.evidence.created for entry in third.entries if entry.operation == SVD.operation] == ["2026-01-01"]


def test_a_machine_whose_name_another_one_has_gets_a_file_of_its_own():
    """Names end in twelve digits of a hash: it is the key inside that counts."""
    taken = write_outcome.place(KEY, None)
    profile_files.write(profile(FILL, key=Key(usable_cpus=99)), taken)
    assert write_outcome.place(KEY, None) == taken.with_stem(f"{taken.stem}-2")
    profile_files.write(profile(SVD), taken.with_stem(f"{taken.stem}-2"))
    assert write_outcome.place(KEY, None) == taken.with_stem(f"{taken.stem}-2")
    assert profile_files.read(taken).entries == (FILL,)


def test_an_interruption_says_how_to_go_on(tmp_path, capsys):
    write_outcome.tell([write_outcome.keep(USUAL, tmp_path / "mine.yaml")], finished=False, as_json=False)
    assert "--resume" in capsys.readouterr().err.splitlines()[-1]


def test_another_place_is_said_with_its_reason(capsys):
    kept = write_outcome.Kept(
        measured=EMPTY, profile=EMPTY, path=Path("/b/x.yaml"), output=Path("/a/x.yaml"), why="Read-only file system"
    )
    write_outcome.tell([kept], finished=True, as_json=False)
    assert "/a/x.yaml could not be written (Read-only file system). Nothing is lost" in capsys.readouterr().err


def test_json_holds_the_path_and_the_profile(tmp_path, capsys):
    path = tmp_path / "mine.yaml"
    write_outcome.tell([write_outcome.keep(USUAL, path)], finished=True, as_json=True)
    (said,) = json.loads(capsys.readouterr().out)["profiles"]
    assert (said["path"], set(said["profile"]["operations"])) == (str(path), {"fill", "svd"})
