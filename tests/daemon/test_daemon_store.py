"""Pulled profiles are timed before programs may read them; own ones are published, sooner or later."""

import pytest
from support.daemon_scenes import NAME, NOON, Scene, entry

from autotune.daemon.daemon_settings import Interpreter

STORE = "/nfs/autotune"
OTHER = Interpreter(python="/opt/other/bin/python")


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path, store=STORE, pull_seconds=100.0)


def until(scene, verb):
    """Tick until such a child runs."""
    for _ in range(40):
        if scene.controller.running is not None and verb in scene.launcher.last.arguments[:2]:
            return scene.launcher.last
        scene.tick(10.0)
    raise AssertionError(scene.events)


def pulled(scene, text="what others found", interpreter=None):
    """The store answers the pull that comes next with one profile, or with none; where it was put."""
    child = until(scene, "pull")
    folder = scene.paths.pulled_for(interpreter or scene.settings.interpreters[0])
    assert child.environ == {"AUTOTUNE_STATE_DIR": str(folder)}
    path = folder / "cluster" / "class-1.yaml"
    if text and not path.exists():  # a pull leaves alone what has not changed
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    child.finish({"mirrored": [{}] if text else []}, status=0 if text else 1)
    scene.tick(0.5)
    return path


def tried(scene, *standings):
    """The trial that runs next says this, run by run."""
    until(scene, "excerpt").finish({"entries": []})
    scene.tick(0.25)
    for standing in standings:
        assert scene.launcher.last.arguments[0] == "verify"
        scene.launcher.last.finish(
            {
                "entries": [
                    {"operation": "svd", "dtype": "float64", "sizes": {}, "standing": standing, "reason": "It was."}
                ]
            }
        )
        scene.tick(0.25)


def test_what_was_pulled_is_in_force_only_once_it_was_timed(scene):
    scene.take_inventory()
    path = pulled(scene)
    until(scene, "excerpt")
    assert scene.launcher.last.arguments[1] == str(path)
    assert not (scene.mirror / "class-1.yaml").exists()
    assert scene.status["store"]["staged"] == 1
    tried(scene, "holds")
    assert (scene.mirror / "class-1.yaml").read_text("utf-8") == "what others found"
    assert scene.status["store"]["staged"] == 0


def test_what_was_pulled_and_is_slower_never_comes_into_force_and_is_not_timed_again(scene):
    scene.take_inventory()
    pulled(scene)
    tried(scene, "slower", "slower")
    assert not (scene.mirror / "class-1.yaml").exists()
    scene.answer_inventory()
    pulled(scene)
    for _ in range(8):
        scene.tick(10.0)
    assert [child.arguments[0] for child in scene.launcher.children].count("excerpt") == 1


def test_what_comes_into_force_is_not_timed_once_more(scene):
    scene.take_inventory()
    pulled(scene)
    tried(scene, "holds")
    scene.controller.inventories.ask_again(NAME)
    until(scene, "inventory")
    scene.answer_inventory(entry(path=str(scene.mirror / "class-1.yaml"), level="same-class"))
    scene.tick(0.5)
    assert scene.controller.next_jobs() == []


def test_a_busy_machine_gets_what_is_pulled_once_it_is_idle(scene):
    scene.take_inventory()
    scene.sensors.foreign = 2.0
    pulled(scene)
    for _ in range(5):
        scene.tick(10.0)
    assert not scene.mirror.exists()


def test_a_mirror_that_cannot_be_written_is_said_and_tried_again(scene):
    scene.take_inventory()
    pulled(scene)
    scene.mirror.write_text("in the way", "utf-8")
    tried(scene, "holds")
    assert any("cannot be put into force" in line["why"] for line in scene.lines)
    assert any(subject.endswith("class-1.yaml") for subject in scene.state.retries)


def test_what_the_store_stands_for_no_longer_is_removed_once_it_has_answered(scene):
    scene.take_inventory()
    scene.mirror.mkdir()
    (scene.mirror / "old.yaml").write_text("withdrawn", "utf-8")
    until(scene, "pull").finish(status=1, words="Traceback")
    scene.tick(0.5)
    assert (scene.mirror / "old.yaml").exists()
    assert scene.state.pull_failures == 1
    pulled(scene, text="")
    assert not (scene.mirror / "old.yaml").exists()


def test_each_interpreter_s_class_is_pulled(tmp_path):
    scene = Scene(tmp_path, store=STORE, pull_seconds=100.0, interpreters=(*Scene.LISTED, OTHER))
    scene.take_inventory()
    scene.answer_inventory(key="k2")
    scene.tick(0.5)
    pulled(scene)
    pulled(scene, interpreter=OTHER)
    assert scene.state.counts["pull_done"] == 2


def test_interpreters_of_one_class_pull_once(tmp_path):
    scene = Scene(tmp_path, store=STORE, pull_seconds=1000.0, interpreters=(*Scene.LISTED, OTHER))
    scene.take_inventory()
    scene.answer_inventory()
    scene.tick(0.5)
    until(scene, "pull").finish({"mirrored": []}, status=1)
    scene.tick(0.5)
    for _ in range(20):
        scene.tick(10.0)
    assert ["pull" in child.arguments for child in scene.launcher.children].count(True) == 1


def test_what_could_not_be_published_is_tried_again_also_by_the_next_daemon(scene):
    scene.state.unpublished["/p/mine.yaml"] = NAME
    scene.take_inventory()
    until(scene, "publish").finish(status=3, words="The store is away.")
    scene.tick(0.5)
    scene.begin()
    scene.take_inventory()
    assert scene.state.unpublished == {"/p/mine.yaml": NAME}
    scene.state.clamp_times(NOON)
    scene.clock.advance(700.0)
    until(scene, "publish").finish()
    scene.tick(0.5)
    assert scene.state.unpublished == {}
