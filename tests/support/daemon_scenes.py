"""A daemon whose clock, machine and child processes do as a test says: its decisions are exact and instant."""

import json
import selectors
import socket
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Self, TextIO, cast

from autotune.daemon.child_processes import ChildCommand, ChildProcess, ChildResult
from autotune.daemon.context import DaemonLog
from autotune.daemon.control_socket import ControlSocket
from autotune.daemon.controller import Controller
from autotune.daemon.daemon_settings import DaemonPaths, DaemonSettings, IdleThresholds, Interpreter
from autotune.daemon.inventory import Inventory, InventoryEntry
from autotune.daemon.metrics import daemon_status
from autotune.daemon.schedule import ScheduleInput
from autotune.daemon.sensors import LoadSample, MachineSensors, Moment
from autotune.daemon.state import (
    CanaryProgress,
    CanaryVerdict,
    DaemonState,
    DailyCpuTime,
    PlainValue,
    Retry,
    UnfinishedCalibration,
)
from autotune.model.catalogue import operation
from autotune.model.codec import encode
from autotune.model.operation import Operation

PYTHON = Interpreter(python="/opt/app/bin/python")
NAME = PYTHON.name
NOON = 1_800_000_000.0
Facts = dict[str, PlainValue]
FACTS: Facts = {"software.numpy": "2.4", "software.kernels": "SkylakeX", "usable_cpus": 4}
QUICK = IdleThresholds(start_below=0.08, quiet_seconds=20.0)
SVD = Operation(name="svd")


def entry(
    name: str = "svd",
    *,
    status: Any = "tuned",
    speedup: float | None = 2.0,
    level: Any = "this-host",
    path: str = "/p/mine.yaml",
    undecided: str = "",
    contested: bool = False,
    **sizes: int,
) -> InventoryEntry:
    return InventoryEntry(
        operation=operation(name, dtype="float64", **(sizes or {"n": 500})),
        status=status,
        speedup=speedup,
        level=level,
        path=path,
        undecided=undecided or ("It was noisy." if status in {"noisy", "failed"} else ""),
        contested=contested,
    )


def inventory(*entries: InventoryEntry, profile: str = "/p/mine.yaml", facts: Facts = FACTS) -> Inventory:
    return Inventory(key="k1", host="h1", facts=facts, watched=(), profile=profile, created=None, entries=entries)


def schedule_input(
    *entries: InventoryEntry,
    state: DaemonState | None = None,
    settings: DaemonSettings | None = None,
    untested: Collection[str] = (),
    now: float = NOON,
) -> ScheduleInput:
    return ScheduleInput(
        settings=settings or DaemonSettings(interpreters=(PYTHON,), calibrate=False),
        state=state or DaemonState(),
        inventories={NAME: inventory(*entries)},
        untested=dict.fromkeys(untested, NAME),
        now=now,
    )


class FakeChild(ChildProcess):
    """A child process that ends when a test says so."""

    def __init__(self, command: ChildCommand, environ: Mapping[str, str]) -> None:
        self.module, self.arguments, self.environ = command.module, list(command.arguments), environ
        self.killed = False
        self.end: ChildResult | None = None

    def result(self) -> ChildResult | None:
        return self.end

    def kill(self) -> None:
        self.killed = True

    def finish(self, answer: Any = None, *, status: int = 0, words: str = "") -> None:
        self.end = ChildResult(
            status=status, answer=b"" if answer is None else json.dumps(answer).encode(), words=words
        )


class FakeLauncher:
    """Keeps the children that were started."""

    def __init__(self) -> None:
        self.children: list[FakeChild] = []
        self.refusal: Exception | None = None

    def start(self, python: str, command: ChildCommand, environ: Mapping[str, str]) -> FakeChild:
        if self.refusal:
            raise self.refusal
        self.children.append(FakeChild(command, environ))
        return self.children[-1]

    @property
    def last(self) -> FakeChild:
        return self.children[-1]


class FakeSensors(MachineSensors):
    """Reports the load that a test says."""

    def __init__(self, clock: "Clock") -> None:
        self.clock = clock
        self.foreign = 0.0
        self.waiting: float | None = None
        self.obstacle: str | None = None
        self.program: str | None = None
        self.own = 0.0
        self._before: float | None = None

    def sample(self, busy_seconds: float, *, measuring: bool) -> LoadSample | None:
        before, self._before = self._before, self.clock.running
        if before is None:
            return None
        return LoadSample(
            began=before, ended=self._before, foreign_cpus=self.foreign, waiting=self.waiting, obstacle=self.obstacle
        )

    def running_program(self, names: Collection[str]) -> str | None:
        return self.program if self.program in names else None

    def own_seconds(self) -> float:
        return self.own


class Clock:
    def __init__(self) -> None:
        self.running, self.suspended, self.wall = 1000.0, 0.0, NOON

    def __call__(self) -> Moment:
        return Moment(self.running, self.running + self.suspended, self.wall)

    def advance(self, seconds: float) -> None:
        self.running += seconds
        self.wall += seconds


class Scene:
    """A controller with everything around it faked."""

    LISTED = (PYTHON,)

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.clock = Clock()
        self.launcher = FakeLauncher()
        self.sensors = FakeSensors(self.clock)
        self.usable = (4, "none")
        self.lines: list[dict[str, Any]] = []
        self.folder = folder
        (folder / "state").mkdir(exist_ok=True)
        (folder / "profiles").mkdir(exist_ok=True)
        self.settings = DaemonSettings(**{"interpreters": (PYTHON,), "idle": QUICK, "calibrate": False, **settings})
        self.paths = DaemonPaths(
            settings=folder / "daemon.yaml",
            state=folder / "state",
            run=folder / "run",
            profiles=folder / "profiles",
            spool=folder / "spool",
            mirror=self.mirror,
        )
        self.begin()

    def begin(self) -> None:
        """Start a daemon, as after a kill."""
        self.controller = Controller(
            self.settings,
            self.paths,
            start_child=self.launcher.start,
            sensors=self.sensors,
            log=DaemonLog(cast(TextIO, self)),
            clocks=self.clock,
            usable=lambda: self.usable,
        )

    def write(self, text: str) -> None:
        self.lines.append(json.loads(text))

    def flush(self) -> None:
        pass

    @property
    def state(self) -> DaemonState:
        return self.controller.context.state

    @property
    def status(self) -> dict[str, Any]:
        return daemon_status(self.controller)

    @property
    def last_reason(self) -> str:
        return str(self.status["recent"][-1]["why"])

    @property
    def events(self) -> list[str]:
        return [line["event"] for line in self.lines]

    @property
    def profile(self) -> Path:
        return self.folder / "profiles" / "mine.yaml"

    @property
    def mirror(self) -> Path:
        return self.folder / "mirror"

    def leave(self, text: str, name: str = "1-1.json") -> None:
        """Leave a file in the spool, as a program does."""
        self.paths.spool.mkdir(exist_ok=True)
        (self.paths.spool / name).write_text(text, "utf-8")

    def tick(self, seconds: float = 0.0) -> None:
        self.clock.advance(seconds)
        self.controller.tick()

    def until_idle(self) -> None:
        """Tick until the window is open."""
        for _ in range(12):
            self.tick(10.0)
            if self.controller.readiness.window.is_open:
                return
        raise AssertionError(self.controller.readiness.window)

    def answer_inventory(self, *entries: InventoryEntry, facts: Facts = FACTS, key: str = "k1") -> None:
        """Answer the question for an inventory that runs."""
        assert self.launcher.last.arguments[0] == "inventory"
        answer = Inventory(
            key=key, host="h1", facts=facts, watched=(), profile=str(self.profile), created=None, entries=entries
        )
        self.launcher.last.finish(encode(answer))

    def take_inventory(self, *entries: InventoryEntry, **words: Any) -> Self:
        """Let the interpreter answer. The profile of `entry`, which does not exist, is trusted."""
        self.state.trusted["/p/mine.yaml"] = ()
        self.tick()
        self.answer_inventory(*entries, **words)
        self.tick(0.5)
        return self


FULL_STATE = DaemonState(
    cpu_time=DailyCpuTime("2026-01-01", 5.0),
    paused_until=NOON,
    demand={operation("svd", n=100): 5.0},
    used={operation("qr", n=100): 5.0},
    decayed=NOON,
    retries={"svd float64": Retry(1, NOON)},
    orders={SVD: (NAME,)},
    doubts={operation("inv", n=5): "It was slower"},
    unfinished=UnfinishedCalibration(NAME, Operation(name="det")),
    canaries={"/p": CanaryProgress((1, 2), (CanaryVerdict.SLOWER,))},
    trusted={"/p": (1, 2)},
    facts={NAME: {"usable_cpus": 4, "numpy": "2.4", "ilp64": True, "layer": None}},
    stale={NAME: "usable_cpus was 4 and is 2."},
    first_seen={"k1": NOON},
    checked={"k1": {SVD: NOON}},
    counts={"adopted": 1.0},
    unpublished={"/p": NAME},
    pulled=NOON,
    pull_failures=1,
)
"""Each field has another value than in a new state."""


class Server:
    """A control socket whose loop turns when a test says so."""

    def __init__(self, path: Path, answer: Any = None) -> None:
        self.path = path
        self.selector = selectors.DefaultSelector()
        self.peers: list[Any] = []
        self.time = 0.0
        self.control = ControlSocket(path, answer or self.echo, self.selector, clock=lambda: self.time)

    def echo(self, request: Any, peer: Any) -> dict[str, Any]:
        self.peers.append(peer)
        return {"ok": True, "request": request}

    def turn(self) -> None:
        """Serve until no socket waits for anything."""
        for _ in range(10_000):
            ready = self.selector.select(0)
            if not ready:
                return
            for key, _ in ready:
                self.control.serve(key.fileobj)
        raise AssertionError("the loop never rests")

    def connect(self) -> socket.socket:
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        line.settimeout(60.0)
        line.connect(str(self.path))
        self.turn()
        return line

    def send(self, text: bytes) -> socket.socket:
        line = self.connect()
        line.sendall(text)
        self.turn()
        return line

    def ask(self, request: Any) -> Any:
        return self.read(self.send(json.dumps(request).encode() + b"\n"))

    def read(self, line: socket.socket) -> Any:
        """Return the answer; None if the connection was closed without one."""
        text = b""
        while not text.endswith(b"\n"):
            self.turn()
            part = line.recv(2**16)
            if not part:
                return None
            text += part
        return json.loads(text)

    @property
    def connections(self) -> int:
        return len(self.selector.get_map()) - 1
