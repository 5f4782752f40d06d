"""The verbs that speak to a store."""

import json
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.profile_builders import KEY, alone, make_entry, profile

from autotune.cli import messages
from autotune.cli.program import program
from autotune.cli.store_warm_starts import saved_seconds
from autotune.model.configuration import Configuration
from autotune.model.entry import Evidence, Status
from autotune.model.operation import Operation
from autotune.profiles import folders, profile_files, resolve
from autotune.profiles.fit import Site
from autotune.search.events import Tried


@pytest.fixture(autouse=True)
def this_host(monkeypatch, tmp_path):
    alone(monkeypatch, tmp_path)
    monkeypatch.setenv("AUTOTUNE_HOST_ID", "here")
    monkeypatch.setenv("AUTOTUNE_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(resolve, "this_site", lambda *_: Site(key=KEY, host="here", schedulable_cpus=8))
    (tmp_path / "store").mkdir()


def run(*words):
    return CliRunner().invoke(program, list(words))


def calibrated(host="here", name=KEY.slug):
    """A profile in the user's folder."""
    path = folders.user_profiles() / f"{name}.yaml"
    profile_files.write(profile(make_entry("qr", choice={"blas_threads": 1}, m=9, n=9), host=host), path)
    return path


def configured(text):
    folder = folders.user_profiles().parent
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(text)


def test_what_one_host_publishes_another_pulls(monkeypatch):
    for host in ("other", "here"):
        monkeypatch.setenv("AUTOTUNE_HOST_ID", host)
        calibrated(host)
        assert run("store", "publish").exit_code == 0
    result = run("store", "pull")
    assert result.exit_code == 0
    assert result.stderr == f"{KEY.slug}: 1 entry of 2 hosts; 1 decided, 1 confirmed.\n"
    assert profile_files.read(folders.cluster_profiles() / f"{KEY.slug}.yaml").entries[0].evidence.hosts == 2


def test_without_a_name_this_host_s_own_profiles_are_published():
    calibrated()
    calibrated(host="other", name="copied")
    result = run("store", "publish", "--json")
    done = json.loads(result.stdout)["published"]
    assert [(published["folder"], published["new"], published["name"].split("-")[0]) for published in done] == [
        (KEY.slug, True, "here")
    ]


def test_a_profile_without_a_measurement_keeps_no_other_from_the_store():
    folder = calibrated().parent
    late = replace(make_entry("qr", status=Status.UNDECIDED, m=9, n=9), evidence=Evidence())
    profile_files.write(profile(late, host="here"), folder / "a.yaml")
    result = run("store", "publish")
    assert result.exit_code == 0
    assert "a.yaml: it holds no measurement" in result.stderr
    assert "is in the store as" in result.stderr
    assert run("store", "publish", str(folder / "a.yaml")).exit_code == 1


def test_nothing_measured_is_nothing_to_publish():
    result = run("store", "publish")
    assert (result.exit_code, result.stderr) == (1, f"{messages.NOTHING_TO_PUBLISH}\n")


def test_a_merged_profile_is_not_published(tmp_path):
    profile_files.write(profile(make_entry("qr", choice={"blas_threads": 1}, m=9, n=9), host=None), tmp_path / "x.yaml")
    result = run("store", "publish", str(tmp_path / "x.yaml"))
    assert result.exit_code == 1
    assert "which host measured it" in result.stderr


def test_an_entry_without_a_result_needs_no_confirmation():
    """Only a decided entry can be confirmed: undecided ones are no reason to sign or to measure again."""
    public = json.loads(run("store", "keys", "--new", "--json").stdout)["public"]
    configured(f"trust: signed\ntrusted_keys: ['{public}']\n")
    path = calibrated()
    read = profile_files.read(path)
    undecided = make_entry("svd", status=Status.UNDECIDED, m=9, n=9)
    profile_files.write(replace(read, entries=(*read.entries, undecided)), path)
    run("store", "publish", "--sign")
    said = run("store", "pull").stderr
    assert "2 entries of 1 host; 1 decided, 1 confirmed.\n" in said
    assert messages.UNCONFIRMED not in said


def test_a_signed_publication_is_confirmed_by_its_signer():
    public = json.loads(run("store", "keys", "--new", "--json").stdout)["public"]
    configured(f"trust: signed\ntrusted_keys: ['{public}']\n")
    path = calibrated()
    assert run("store", "publish").exit_code == 0
    assert run("store", "pull").exit_code == 1
    assert run("store", "publish", str(path), "--sign").exit_code == 0
    assert f"{KEY.slug}: 1 entry of 1 host; 1 decided, 1 confirmed.\n" in run("store", "pull").stderr


def test_a_refused_publication_is_told_with_its_reason():
    configured("trust: signed\n")
    calibrated()
    run("store", "publish")
    result = run("store", "pull")
    assert result.exit_code == 1
    assert "no trusted key signed it" in result.stderr
    assert json.loads(run("store", "pull", "--json").stdout)["rejected"][0]["class"] == KEY.slug


def test_an_entry_that_no_other_host_confirms_is_told_with_what_to_do():
    calibrated()
    assert messages.UNSIGNED in run("store", "publish").stderr
    pulled = run("store", "pull")
    assert (pulled.exit_code, messages.UNCONFIRMED in pulled.stderr) == (0, True)


def test_a_signature_that_is_new_is_told():
    run("store", "keys", "--new")
    path = calibrated()
    run("store", "publish")
    assert "the signature is new" in run("store", "publish", str(path), "--sign").stderr


def test_quiet_leaves_errors_only():
    calibrated()
    assert run("store", "publish", "-q").output == ""


def test_keys_are_made_once_and_shown_again():
    made = run("store", "keys", "--new")
    assert made.exit_code == 0
    assert run("store", "keys").stdout == made.stdout
    assert run("store", "keys", "--new").exit_code == 2
    private = folders.user_profiles().parent / "signing.key"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600


def test_no_key_is_told_with_what_to_do():
    result = run("store", "keys")
    assert result.exit_code == 2
    assert "`autotune store keys --new` makes one" in result.stderr


def test_a_list_shows_classes_and_one_class_its_publications():
    assert run("store", "list").stderr.endswith("is empty.\n")
    calibrated()
    run("store", "publish")
    assert run("store", "list").stdout == f"{KEY.slug}  1 host, 1 publication\n"
    assert run("store", "list", KEY.slug).stdout == "here  2026-01-02T03:04:05Z  1 entry\n"
    shown = json.loads(run("store", "list", KEY.slug, "--json").stdout)
    assert [publication["host"] for publication in shown["publications"]] == ["here"]


@pytest.mark.parametrize("name", ["..", "../x", "a/b", ""])
def test_a_class_with_path_parts_is_wrong_usage(name):
    assert run("store", "list", name).exit_code == 2
    assert run("store", "prune", "--class", name).exit_code == 2


def test_a_dry_run_removes_nothing(tmp_path):
    calibrated()
    run("store", "publish")
    assert "would be removed" in run("store", "prune", "--host", "here", "--dry-run").stdout
    assert len(list((tmp_path / "store").rglob("*.json"))) == 1
    assert "was removed" in run("store", "prune", "--host", "here").stdout
    assert list((tmp_path / "store").rglob("*.json")) == []


def test_what_the_store_keeps_is_told_and_the_rest_goes(tmp_path):
    calibrated()
    run("store", "publish")
    (place,) = (tmp_path / "store" / "v1").iterdir()
    (place / ".1-a.tmp").mkdir()  # as little to be removed as another user's file
    (place / ".1-b.tmp").touch()
    done = run("store", "prune")
    assert done.exit_code == 1
    assert f"{place.name}/.1-a.tmp: The store" in done.stderr
    assert "1 file removed" in done.stderr
    assert sorted(path.suffix for path in place.iterdir()) == [".json", ".tmp"]


def test_no_store_is_wrong_usage_with_what_to_do(monkeypatch):
    monkeypatch.delenv("AUTOTUNE_STORE")
    for verb in ("pull", "list", "prune", "publish"):
        result = run("store", verb)
        assert result.exit_code == 2
        assert "Write `store: /nfs/autotune`" in result.stderr


def test_a_store_that_is_away_is_said_once_and_costs_nothing(tmp_path):
    calibrated()
    run("store", "publish")
    run("store", "pull")
    before = (folders.cluster_profiles() / f"{KEY.slug}.yaml").read_bytes()
    (tmp_path / "store").rename(tmp_path / "away")
    result = run("store", "pull")
    assert (result.exit_code, result.stderr.count("\n")) == (3, 1)
    assert (folders.cluster_profiles() / f"{KEY.slug}.yaml").read_bytes() == before


def test_a_full_disk_leaves_programs_what_they_had(monkeypatch):
    calibrated()
    run("store", "publish")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("autotune.share.mirror.replace_file", full)
    result = run("store", "pull")
    assert result.exit_code == 3
    assert "No space left on device). Programs go on with the profiles that they had." in result.stderr


def test_an_unknown_protocol_and_a_broken_configuration_are_wrong_usage():
    assert run("store", "pull", "--store", "nix://x").exit_code == 2
    configured("trust: sometimes\n")
    result = run("store", "pull")
    assert result.exit_code == 2
    assert "config.yaml: trust: expected one of any, owner, signed" in result.stderr


@pytest.mark.parametrize("verb", ["publish", "pull", "list", "prune", "keys"])
def test_every_verb_shows_two_examples(verb):
    assert run("store", verb, "--help").stdout.split("Examples:")[1].count("autotune store ") >= 2


QR = Operation(name="qr")


def tried(*threads):
    """Trials ten seconds apart."""
    return [
        Tried(
            operation=QR,
            configuration=Configuration(blas_threads=count),
            speedup=1.0,
            elapsed=10.0 * number,
            remaining=0.0,
        )
        for number, count in enumerate(threads)
    ]


def test_a_choice_that_was_tried_first_saves_half_of_its_search():
    events = tried(1, 2, 3, 4, 5)
    assert saved_seconds(events, {QR: Configuration(blas_threads=1)}) == pytest.approx(16.0)


def test_a_small_space_that_is_measured_whole_anyway_saves_nothing():
    whole = [replace(event, elapsed=10.0) for event in tried(1, 2, 3, 4)]
    races = [replace(event, elapsed=50.0) for event in tried(1, 2)]
    assert saved_seconds([*whole, *races], {QR: Configuration(blas_threads=1)}) == 0


def test_a_choice_that_was_tried_late_or_that_no_relative_knew_saves_nothing():
    events = tried(1, 2, 3, 4, 5)
    assert saved_seconds(events, {QR: Configuration(blas_threads=5)}) == 0
    assert saved_seconds(events, {}) == 0
    assert saved_seconds([], {}) == 0


def test_the_first_program_after_a_pull_finds_its_copy_compiled():
    calibrated()
    run("store", "publish")
    run("store", "pull")
    assert list(Path(folders.cache_dir()).glob("applied-*"))


def test_no_name_in_a_store_speaks_to_the_terminal(tmp_path):
    calibrated()
    run("store", "publish")
    (place,) = (tmp_path / "store" / "v1").iterdir()
    (place / ".1-\x1b[2J.tmp").touch()
    assert "\x1b" not in run("store", "prune", "--dry-run").output


@pytest.mark.real
def test_a_pull_loads_nothing_that_only_calibrations_need(tmp_path):
    code = "import sys; from autotune.cli.store import pull; pull(['--store', sys.argv[1]], standalone_mode=False); "
    done = subprocess.run(
        [sys.executable, "-c", code + "print(*sys.modules)", tmp_path / "store"],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert not {"optuna", "scipy", "psutil", "autotune.bench.process_bench"} & set(done.stdout.split())
