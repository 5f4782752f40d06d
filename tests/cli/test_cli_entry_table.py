"""A profile on a terminal of any width and encoding."""

from dataclasses import replace

import pytest
from support.shown_profiles import DEFAULTS_ONLY, EMPTY, FILL, KEY, SVD, USUAL

from autotune.cli import entry_table
from autotune.model.configuration import Configuration
from autotune.model.entry import Alternative, Evidence, Status
from autotune.model.operation import Operation
from autotune.model.profile import Profile, Provenance
from autotune.runtime.text_table import operation_name, printable


@pytest.fixture
def shown(monkeypatch, capsys):
    def show(profile, *, width=100):
        monkeypatch.setenv("COLUMNS", str(width))
        entry_table.print_profile(profile)
        return capsys.readouterr().out

    return show


@pytest.mark.parametrize("width", [40, 80, 100, 200])
def test_every_figure_of_a_tuned_entry_is_shown_at_every_width(shown, width):
    text = " ".join(shown(USUAL, width=width).split())
    for figure in ("svd m=500 n=500", "blas_threads=1", "12.3 ms", "8.20 ms", "1.50x", "1.43 to 1.56", "fresh"):
        assert figure in text


@pytest.mark.parametrize("width", [40, 80])
def test_no_line_is_wider_than_the_terminal(shown, width):
    assert max(len(line.rstrip()) for line in shown(USUAL, width=width).splitlines()) <= width


def test_the_machine_and_its_limit_stand_on_top(shown):
    assert shown(USUAL).splitlines()[0] == "A CPU: 2 usable CPUs, limited by a CPU quota"


def test_how_many_choices_may_be_wrong_stands_on_top(shown):
    tested = replace(USUAL.provenance, error_per_rule=0.05, rules_tested=12)
    line = "12 sizes were tested; at most 0.6 wrong choices are expected among them"
    assert line in shown(replace(USUAL, provenance=tested), width=100).splitlines()


def test_the_corners_of_tasks_are_shown_with_their_speeds(shown):
    corners = tuple(
        Alternative(choice=Configuration(blas_threads=threads, workers=workers), speedup=speedup)
        for threads, workers, speedup in ((1, 1, 0.8), (2, 1, 1.0), (1, 2, 2.0), (2, 2, 1.25))
    )
    text = shown(replace(USUAL, entries=(replace(SVD, corners=corners),)), width=140)
    assert "BLAS threads x workers: 1 x 1 0.80x, 2 x 1 1.00x, 1 x 2 2.00x, 2 x 2 1.25x" in text


def test_where_the_states_of_the_machine_matter_the_speed_up_over_all_of_them_leads_and_both_are_shown(shown):
    states = replace(SVD.evidence, expected_speedup=1.31, full_capacity_share=0.62)
    text = " ".join(shown(replace(USUAL, entries=(replace(SVD, evidence=states),)), width=140).split())
    assert "12.3 ms 8.20 ms 1.31x Proved" in text
    assert "At full capacity (62% of the time) it is 1.50x (1.43 to 1.56)." in text


@pytest.mark.parametrize(
    ("expected", "share", "note"),
    [
        (1.49, 0.62, "Times are those at full capacity"),
        (None, 0.62, "62% of the time; without it the choice was never timed"),
        (1.31, 0.99, "Proved"),
    ],
)
def test_a_speed_up_that_holds_at_full_capacity_leads_where_no_other_is_told_apart(shown, expected, share, note):
    states = replace(SVD.evidence, expected_speedup=expected, full_capacity_share=share)
    text = " ".join(shown(replace(USUAL, entries=(replace(SVD, evidence=states),)), width=140).split())
    assert "12.3 ms 8.20 ms 1.50x (1.43 to 1.56)" in text
    assert note in text


def test_a_default_that_was_kept_claims_no_expected_speed_up(shown):
    kept = replace(FILL, evidence=replace(SVD.evidence, expected_speedup=1.31, full_capacity_share=0.62))
    assert "1.31x" not in shown(replace(USUAL, entries=(kept,)))


def test_what_was_tested_and_did_not_stand_is_no_gain(shown):
    refuted = replace(FILL, evidence=Evidence(speedup=1.01, interval=(0.9, 1.1)))
    assert "1.01x" not in shown(replace(USUAL, entries=(refuted,)))


def test_programs_read_the_limit_of_a_gain_that_the_time_did_not_suffice_for():
    limited = replace(FILL, evidence=Evidence(speedup_limit=1.06))
    assert (entry_table.plain_entry(limited)["speedup_limit"], entry_table.plain_entry(SVD)["speedup_limit"]) == (
        1.06,
        None,
    )


def test_an_empty_profile_says_so(shown):
    assert "no entries" in shown(EMPTY)


def test_a_profile_that_keeps_every_default_shows_the_reason(shown):
    text = " ".join(shown(DEFAULTS_ONLY).split())
    assert "default kept 1.20 us - - No candidate was faster." in text


def test_the_last_line_counts_entries_by_status(shown):
    profile = replace(USUAL, entries=(SVD, FILL, FILL, replace(FILL, status=Status.NOISY)))
    assert shown(profile).splitlines()[-1] == "1 tuned, 2 default kept, 1 too noisy to tell."


@pytest.mark.parametrize("width", [40, 100])
def test_hostile_names_cannot_act_on_the_terminal(shown, width):
    evil = "\x1b[31m[bold red]\u202e\x9b\n:boom:"
    profile = Profile(
        key=KEY,
        entries=(replace(SVD, operation=Operation(name=evil), reason=evil),),
        provenance=Provenance(cpu=evil, created=evil),
    )
    text = shown(profile, width=width)
    assert not {"\x1b", "\u202e", "\x9b"} & set(text)
    assert "[bold red]" in "".join(text.split("\n")[0])


def test_colours_are_for_terminals_that_want_them(monkeypatch):
    seen = []
    monkeypatch.setattr("click.secho", lambda *_, **options: seen.append(options["color"]))
    for value in ("", "1"):
        monkeypatch.setenv("NO_COLOR", value)
        entry_table.print_profile(USUAL)
    assert set(seen) == {None, False}


def test_float32_is_named_and_float64_goes_without_saying():
    assert [
        operation_name(Operation(name="log", dtype=dtype, sizes=(("n", 10),))) for dtype in ("float64", "float32")
    ] == ["log n=10", "log float32 n=10"]


def test_a_lone_surrogate_is_spelled_out():
    assert printable("a\udc80b") == "a\\udc80b"


@pytest.mark.parametrize("width", [40, 100])
def test_what_a_choice_costs_in_memory_is_shown(shown, width):
    keeping = replace(SVD, choice=Configuration(allocator="retain"), evidence=Evidence(retained_bytes=96 * 2**20))
    text = " ".join(shown(Profile(key=KEY, entries=(keeping,)), width=width).split())
    assert "holds 96.0 MiB more memory than by default" in text


def test_ten_thousand_entries_are_all_shown(shown):
    entries = tuple(replace(FILL, operation=Operation(name="fill", sizes=(("n", n),))) for n in range(1, 10_001))
    text = shown(replace(USUAL, entries=entries), width=80)
    assert sum(line.startswith("fill n=") for line in text.splitlines()) == 10_000
    assert text.splitlines()[-1] == "10000 default kept."
