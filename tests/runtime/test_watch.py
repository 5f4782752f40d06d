"""A program that runs for long takes up what is new."""

import threading
from pathlib import Path

import pytest
from support.profile_builders import alone, make_entry, of_this_machine

import autotune
from autotune.profiles import profile_files
from autotune.runtime import profile_watch
from autotune.runtime.process_settings import Setting
from autotune.runtime.process_state import state


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """The place of this user's profile; nothing is in force before and after."""
    alone(monkeypatch, tmp_path)
    started = []

    def start(self):
        started.append(self)

    monkeypatch.setattr(profile_watch.ProfileWatch, "start", start)
    before = state.setting
    state.replace_setting(Setting())
    yield Path(tmp_path / "config" / "autotune" / "profiles" / "mine.yaml"), started
    autotune.apply().restore()
    state.replace_setting(before)


def current_choice():
    return autotune.config("qr", m=100, n=100)


def chosen(threads):
    return of_this_machine(make_entry("qr", choice={"blas_threads": threads}, m=100, n=100))


def test_a_new_profile_is_taken_up_at_the_next_look(watched):
    path, started = watched
    autotune.apply(watch=True)
    assert current_choice() is None
    profile_files.write(chosen(1), path)
    assert started[0].check()
    assert current_choice().blas_threads == 1


def test_an_unchanged_profile_changes_nothing(watched):
    path, started = watched
    profile_files.write(chosen(1), path)
    autotune.apply(watch=True)
    setting = state.setting
    assert started[0].check()
    assert state.setting is setting


def test_restoring_ends_the_watch_and_undoes_what_it_renewed(watched):
    path, started = watched
    before = state.setting
    applied = autotune.apply(watch=True)
    profile_files.write(chosen(1), path)
    started[0].check()
    applied.restore()
    assert state.setting is before
    assert not started[0].check()


def test_a_later_apply_takes_the_watch_s_place(watched):
    path, started = watched
    autotune.apply(watch=True)
    autotune.apply()
    profile_files.write(chosen(1), path)
    assert not started[0].check()
    assert current_choice() is None


def test_a_profile_that_became_unreadable_is_not_used_and_raises_nothing(watched):
    path, started = watched
    profile_files.write(chosen(1), path)
    autotune.apply(watch=True)
    path.write_text("schema: [", "utf-8")
    assert started[0].check()
    assert current_choice() is None


def test_without_the_wish_no_thread_is_started(watched):
    _, started = watched
    autotune.apply()
    assert started == []


@pytest.mark.real
def test_a_thread_does_it(tmp_path, monkeypatch):
    alone(monkeypatch, tmp_path)
    monkeypatch.setattr(profile_watch, "SECONDS", 0.05)
    path = Path(tmp_path / "config" / "autotune" / "profiles" / "mine.yaml")
    with autotune.apply(watch=True):
        assert current_choice() is None
        profile_files.write(chosen(1), path)
        waiting = threading.Event()
        for _ in range(400):
            if current_choice() is not None:
                break
            waiting.wait(0.05)
        assert current_choice().blas_threads == 1
