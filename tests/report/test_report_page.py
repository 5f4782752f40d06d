"""The page as text: whole, escaped, and without anything to load."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files

import pytest
from support.profile_builders import KEY, alternatives, make_entry, profile, with_evidence

from autotune.model.entry import Status
from autotune.model.profile import Profile
from autotune.report.page import page
from autotune.report.rows import Subject

FIGURES = json.loads(files("autotune.report").joinpath("figures.json").read_text("utf-8"))
EVIL = """</script><script>alert(1)</script><img src=x onerror=alert(1)>"'&\x1b[2J\u202e"""


class Reader(HTMLParser):
    """Tags with their attributes, and the text of every cell."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def count(self, wanted):
        return sum(tag == wanted for tag, _ in self.tags)


def drawn(*subjects):
    return page(subjects, library="/* Vega */", specs=dict(FIGURES))


def of(*entries, **rest):
    return Subject(label=rest.pop("label", "a"), profile=profile(*entries, **rest))


def test_every_figure_has_its_table_and_words_for_a_screen_reader(subject):
    reader = Reader(drawn(subject))
    plots = [attrs for _, attrs in reader.tags if attrs.get("class") == "plot"]
    assert reader.count("figure") == len(plots) == reader.count("table") > 8
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in plots)
    assert reader.count("caption") == reader.count("table")
    assert all("scope" in attrs for tag, attrs in reader.tags if tag == "th")


def test_every_kind_of_figure_of_one_profile_is_there(subject):
    assert set(re.findall(r'data-kind="(\w+)"', drawn(subject))) == FIGURES.keys() - {"matrix", "times"}


def test_nothing_is_loaded_from_anywhere(subject):
    reader = Reader(drawn(subject))
    assert [attrs for _, attrs in reader.tags if "src" in attrs] == []
    assert {attrs["href"] for tag, attrs in reader.tags if tag == "link"} == {"data:,"}
    assert "@import" not in drawn(subject)


@pytest.mark.parametrize("several", [False, True])
def test_hostile_text_stays_text(several):
    entry = replace(make_entry("qr", choice={"blas_threads": 1}, m=8, n=8), reason=EVIL)
    base = profile(entry)
    evil = replace(base, provenance=replace(base.provenance, cpu=EVIL, kernel=EVIL, created=EVIL))
    subjects = [Subject(label=f"{EVIL}{number}", profile=evil, path=EVIL) for number in range(1 + several)]
    text = drawn(*subjects)
    reader = Reader(text)
    assert reader.count("img") == 0
    assert reader.count("script") == 3
    assert not {"\x1b", "\u202e"} & set(text)
    assert "&lt;/script&gt;" in text


def test_the_specifications_cannot_end_their_script():
    specs = dict(FIGURES) | {"gain": {"title": "</script>"}}
    text = page([of(make_entry("qr", m=8, n=8))], library="", specs=specs)
    assert json.loads(re.search(r'id="figures">(.*?)</script>', text)[1])["gain"] == {"title": "</script>"}


def test_an_empty_profile_says_so():
    text = drawn(Subject(label="a", profile=Profile(key=KEY)))
    assert "<h1>Nothing was measured yet</h1>" in text
    assert "The profile has no entries" in text


def test_profiles_without_entries_say_so_together():
    empty = Profile(key=KEY)
    text = drawn(Subject(label="a", profile=empty), Subject(label="b", profile=empty))
    assert "None of the profiles has entries" in text


def test_a_profile_of_defaults_shows_no_gain():
    text = drawn(of(make_entry("qr", m=8, n=8), make_entry("qr", m=16, n=16)))
    assert "0<small> of 2</small>" in text
    assert "2 sizes, default throughout" in text


def test_what_was_tested_and_did_not_stand_is_drawn_at_one():
    refuted = make_entry("qr", status=Status.DEFAULT_KEPT, speedup=1 / 0.9, m=8, n=8)
    assert 'data-v="1.0">1.00×' in drawn(of(refuted))


def test_an_entry_that_failed_is_there_without_times():
    failed = with_evidence(make_entry("qr", status=Status.FAILED, m=8, n=8), default_seconds=None)
    assert "could not be verified or measured" in drawn(of(failed))


def test_a_whole_command_without_sizes_is_shown():
    assert "command.make" in drawn(of(make_entry("command.make", choice={"blas_threads": 1})))


def test_ten_thousand_entries_are_all_in_the_table_and_few_are_drawn():
    entries = [make_entry(f"mine_{n % 200}", choice={"workers": 2}, n=n + 1) for n in range(10_000)]
    text = drawn(of(*entries))
    assert text.count("<tr><th scope") >= 10_000
    assert "The first 400 of 10000 rows are drawn." in text
    assert text.count("<figure") < 130
    assert len(text) < 20e6


def test_entries_of_one_operation_are_shown_together_wherever_they_stand():
    text = drawn(of(make_entry("qr", m=8, n=8), make_entry("svd", m=8, n=8), make_entry("qr", m=16, n=16)))
    assert re.findall(r'<h3 id="op-\d+-h">(\w+)', text) == ["qr", "svd"]


def test_the_journals_absence_is_said(subject):
    assert "No journal of its calibration is on this machine" in drawn(replace(subject, sessions=()))


def test_without_a_measurement_of_the_limits_it_says_how_to_get_one(subject):
    made = replace(subject.profile.provenance, memory_bandwidth=None)
    text = drawn(replace(subject, profile=replace(subject.profile, provenance=made)))
    assert "holds no measurement of them" in text


def test_twenty_profiles_are_compared_in_one_matrix(subject):
    text = drawn(*(replace(subject, label=f"node-{number}", sessions=()) for number in range(20)))
    assert set(re.findall(r'data-kind="(\w+)"', text)) == {"matrix", "times"}
    assert text.count("node-19") > 1


def test_the_best_speaks_for_a_cell_that_several_configurations_share(subject):
    corners = alternatives(*(({"blas_threads": 1, "workers": 2}, speedup) for speedup in (2.0, 1.25)))
    entry = replace(make_entry("batch_matmul", n=300, tasks=100), corners=corners)
    text = drawn(of(entry))
    assert text.count('data-v="2.0">2.00×') == 1
    assert 'data-v="1.25">1.25×' not in text


def test_the_first_words_are_what_was_gained():
    one_thread = {"blas_threads": 1}
    gains = (make_entry("qr", choice=one_thread, speedup=speedup, m=8, n=8 * speedup) for speedup in (2, 8))
    assert "<h1>4.00 times as fast where a choice was proved</h1>" in drawn(of(*gains))
    text = drawn(of(make_entry("qr", choice=one_thread, speedup=2.0, m=8, n=8)))
    assert "qr at m=8 n=8 runs 2.00× as fast (1.82 to 2.22) with 1 thread" in text


def test_the_speed_up_over_all_states_of_the_machine_goes_first_and_that_at_full_capacity_after_it():
    states = {"expected_speedup": 1.25, "full_capacity_share": 0.1}
    text = drawn(of(with_evidence(make_entry("qr", choice={"blas_threads": 1}, m=8, n=8), **states)))
    assert "qr at m=8 n=8 runs 1.25× as fast with 1 thread" in text
    assert 'data-v="1.25">1.25×</td><td class="n"></td><td class="n"></td><td class="n" data-v="2.0">2.00×' in text


def test_where_nothing_was_gained_the_first_words_say_so():
    assert "nothing was proved faster</h1>" in drawn(of(make_entry("qr", m=8, n=8)))


def test_float32_arithmetic_has_no_share_and_the_page_says_why():
    single = make_entry("qr", dtype="float32", m=8, n=8)
    double = make_entry("qr", m=512, n=512)
    base = profile(single, double)
    made = replace(base.provenance, memory_bandwidth=1e10, peak_flops=1e11)
    text = drawn(Subject(label="a", profile=replace(base, provenance=made)))
    assert "the self-test measures float64&rsquo;s peak only" in text
