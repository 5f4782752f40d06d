"""A daemon next to a stress load for eight hours, on a simulated clock: nothing that it holds grows."""

import gc
import os
import random
from contextlib import suppress
from pathlib import Path

import pytest
from support.daemon_scenes import FACTS, NOON, Scene, Server, entry
from support.spool_files import spool_text

from autotune.daemon import state as daemon_state
from autotune.errors import UsageError
from autotune.model.catalogue import CATALOGUE, operation

HOUR = 3600.0
NAMES = [name for name, row in CATALOGUE.items() if row.size_names == ("n",)]


class Endurance(Scene):
    """A daemon in a world of changing load, programs that leave counts, clients, and children that end anyhow."""

    def __init__(self, folder, **settings):
        super().__init__(folder, **settings)
        self.chance = random.Random(3)
        self.paths.spool.mkdir()
        self.begun = 0
        self.take_inventory()

    def live(self, hours):
        """Let time pass."""
        end = self.clock.running + hours * HOUR
        while self.clock.running < end:
            self.tick(10.0)
            self._happen()
            self.lines.clear()

    def _happen(self):
        chance = self.chance.random
        if chance() < 0.02:  # the stress load begins, or ends
            self.sensors.foreign = 0.0 if self.sensors.foreign else 1.5
        if chance() < 0.2:
            self._leave_counts()
        if chance() < 0.02:
            self.state.doubts[entry(self.chance.choice(NAMES), n=9).operation] = "It was slower."
        children = self.launcher.children
        if children and children[-1].end is None and not children[-1].killed and chance() < 0.1:
            self.begun += 1
            self._end(children[-1])
        del children[:-1]

    def _leave_counts(self):
        names = self.chance.choices(NAMES, k=5)
        rows = {operation(name, n=self.chance.randint(1, 10**6)): 50 for name in names}
        name = f"{self.chance.randint(1, 10**6)}-1.json"
        text = spool_text(rows, dict(list(rows.items())[:2]))
        self.leave(text if self.chance.random() < 0.9 else text[:50], name)

    def _end(self, child):
        if child.arguments[0] == "inventory":
            name = self.chance.choice(NAMES)
            facts = FACTS | {"usable_cpus": self.chance.randint(1, 4)}
            self.answer_inventory(entry(name, n=9), facts=facts, key=f"k{self.chance.randint(1, 9)}")
        elif self.chance.random() < 0.5:
            child.finish(status=self.chance.choice([0, 1, 3, -9]), words="It ended.")
        else:
            child.finish({"entries": []})


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX")
def test_eight_hours_under_stress_leave_no_more_memory_descriptors_or_files(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)  # no power fails here
    monkeypatch.setattr(daemon_state, "MAX_COUNTED", 100)  # reached within the first hour
    scene = Endurance(tmp_path, calibrate=True, daily_cpu_seconds=1e9)

    def answer(request, peer):
        return {"ok": True, **scene.status, "queue": scene.controller.next_jobs()}

    server = Server(tmp_path / "socket", answer)

    def ask_all():
        with suppress(UsageError):  # as many as may wait do
            for size in range(20):
                scene.controller.order(entry(scene.chance.choice(NAMES), n=100 + size).operation)
        assert server.ask({"verb": "status"})["ok"]
        with server.connect() as line:  # a client that says nothing more
            line.sendall(b"{")
        server.turn()

    def held():
        gc.collect()
        files = [path for path in tmp_path.rglob("*") if path.parent != scene.paths.spool]
        return len(gc.get_objects()), len(list(Path("/dev/fd").iterdir())), len(files)

    for _ in range(2):
        scene.live(1)
        ask_all()
    objects, descriptors, files = held()
    for _ in range(6):
        scene.live(1)
        ask_all()
    later = held()
    assert scene.clock.wall - NOON >= 8 * HOUR
    assert scene.begun > 50
    assert later[0] - objects < 1500  # counts of 100 to 200 operations, each of a few objects
    assert later[1:] == (descriptors, files)
