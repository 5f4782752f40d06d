"""The profile helper, a child process of the daemon."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.profile_builders import alone, make_entry, of_this_machine, profile, with_evidence

from autotune.daemon import profile_helper
from autotune.daemon.inventory import parse_inventory
from autotune.model.catalogue import operation
from autotune.model.codec import encode
from autotune.model.entry import Status
from autotune.profiles import profile_files


def texts(*entries):
    return [str(each.operation) for each in entries]


ENTRIES = (
    make_entry("qr", choice={"blas_threads": 1}, speedup=5, m=500, n=500),
    make_entry("svd", choice={"blas_threads": 1}, speedup=2, m=100, n=100),
    make_entry("svd", choice={"blas_threads": 2}, speedup=1.1111, m=900, n=900),
    make_entry("inv", n=500),
)


@pytest.fixture
def source(tmp_path):
    profile_files.write(profile(*ENTRIES), tmp_path / "mine.yaml")
    return tmp_path / "mine.yaml"


def excerpt(source, used, most=5):
    wanted = json.dumps({"most": most, "used": list(map(encode, used))})
    answer = profile_helper.excerpt(str(source), str(source.with_name("excerpt.yaml")), wanted)
    assert len(profile_files.read(source.with_name("excerpt.yaml")).entries) == len(answer["entries"])
    return answer["entries"]


def test_of_a_profile_no_one_uses_the_largest_claims_are_timed(source):
    assert excerpt(source, [], most=2) == texts(ENTRIES[0], ENTRIES[1])


def test_entries_of_what_is_used_most_are_timed_first_and_of_those_the_sizes_that_are_used(source):
    used = [operation("svd", n=700), ENTRIES[2].operation, ENTRIES[0].operation]
    assert excerpt(source, used) == texts(ENTRIES[2], ENTRIES[1], ENTRIES[0])


def test_where_the_default_was_kept_there_is_nothing_to_time(source):
    assert str(ENTRIES[3].operation) not in excerpt(source, [ENTRIES[3].operation])


def test_adoption_joins_what_is_new_with_what_is_there(source, tmp_path):
    place = tmp_path / "in-force.yaml"
    profile_files.write(profile(make_entry("eigh", n=7)), place)
    answer = profile_helper.adopt(str(source), str(place))
    assert answer == {"entries": 5, "new": {"tuned": 3, "default-kept": 1}}
    assert {entry.operation.name for entry in profile_files.read(place).entries} == {"eigh", "qr", "svd", "inv"}


def test_adoption_says_where_a_profile_is_kept_that_could_not_be_read(source, tmp_path):
    place = tmp_path / "in-force.yaml"
    place.write_text("schema: 2\n")
    aside = profile_helper.adopt(str(source), str(place))["set_aside"]
    assert Path(aside).read_text() == "schema: 2\n"
    assert len(profile_files.read(place).entries) == len(ENTRIES)


def test_a_survey_tells_what_is_used_what_decides_nothing_and_what_is_refused(tmp_path, monkeypatch):
    alone(monkeypatch, tmp_path)
    late = replace(make_entry("inv", n=500, status=Status.UNDECIDED), reason="The time allowed ended before its turn.")
    made = of_this_machine(
        make_entry("inv", choice={"blas_threads": 1}, n=300),
        late,
        with_evidence(make_entry("inv", n=700), contested=True),
    )
    shipped = tmp_path / "shipped" / "class.yaml"
    profile_files.write(replace(made, provenance=replace(made.provenance, host="elsewhere")), shipped)
    survey = parse_inventory(json.dumps(profile_helper.inventory(str(tmp_path / "profiles"))).encode())
    assert [(entry.operation.size["n"], entry.status, entry.level) for entry in survey.entries] == [
        (300, "tuned", "same-class"),
        (500, "undecided", "same-class"),
        (700, "refused", "same-class"),
    ]
    assert [bool(entry.undecided) for entry in survey.entries] == [False, True, True]
    assert [entry.contested for entry in survey.entries] == [False, False, True]


def test_an_entry_with_sizes_that_its_operation_does_not_have_is_passed_over(tmp_path, monkeypatch):
    """The answer may be that of another version of autotune, and the daemon computes with sizes."""
    alone(monkeypatch, tmp_path)
    entries = make_entry("inv", n=300), make_entry("svd", m=5, n=5)
    profile_files.write(of_this_machine(*entries), tmp_path / "shipped" / "class.yaml")
    answer = profile_helper.inventory(str(tmp_path / "profiles"))
    (other,) = [row for row in answer["entries"] if row["operation"]["name"] == "svd"]
    other["operation"]["sizes"] = {"k": 5}
    survey = parse_inventory(json.dumps(answer).encode())
    assert [entry.operation.name for entry in survey.entries] == ["inv"]


def test_a_profile_that_cannot_be_read_is_a_problem_and_no_traceback(tmp_path, capsys):
    profile_helper.main(["adopt", str(tmp_path / "none.yaml"), str(tmp_path / "place.yaml")])
    assert "none.yaml" in json.loads(capsys.readouterr().out)["problem"]
