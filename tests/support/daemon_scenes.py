"""A clock, a machine and children that do as they are told: decisions of the daemon are exact and instant."""

import json

from autotune.daemon.child_processes import Ended
from autotune.daemon.clocks import Moment
from autotune.daemon.controller import Keeper
from autotune.daemon.daemon_settings import Interpreter, Settings
from autotune.daemon.idle import Sample, Thresholds
from autotune.daemon.inventory import InventoryEntry, Survey
from autotune.daemon.log import Log
from autotune.daemon.paths import Places
from autotune.daemon.remembered import Memory
from autotune.daemon.schedule import Knowledge
from autotune.model.catalogue import operation

PYTHON = Interpreter(python="/opt/app/bin/python")
NAME = PYTHON.name
NOON = 1_800_000_000.0
FACTS = {"software.numpy": "2.4", "software.kernels": "SkylakeX", "usable_cpus": 4}
QUICK = Thresholds(quiet_seconds=20.0)


def entry(
    name="svd",
    *,
    status="tuned",
    ratio=0.5,
    level="this-host",
    path="/p/mine.yaml",
    undecided="",
    contested=False,
    **sizes,
):
    return InventoryEntry(
        operation=operation(name, **(sizes or {"n": 500})),
        status=status,
        ratio=ratio,
        level=level,
        path=path,
        undecided=undecided or ("It was noisy." if status in {"noisy", "failed"} else ""),
        contested=contested,
    )


def survey(*entries, profile="/p/mine.yaml", facts=FACTS):
    return Survey(
        key="k1",
        host="h1",
        facts=facts,
        watch=(),
        profile=profile,
        created=None,
        entries=entries,
    )


def knowledge(*entries, memory=None, settings=None, untried=(), now=NOON):
    return Knowledge(
        settings=settings or Settings(interpreters=(PYTHON,), calibrate=False),
        memory=memory or Memory(),
        surveys={NAME: survey(*entries)},
        untried=dict.fromkeys(untried, NAME),
        now=now,
    )


def row(name, calls, dtype="float64", **sizes):
    asked = operation(name, dtype=dtype, **sizes)
    return {str(asked): [asked.name, asked.dtype, asked.size, calls]}


class FakeChild:
    """Ends when it is told to."""

    def __init__(self, module, arguments, environ):
        self.module, self.arguments, self.environ = module, list(arguments), environ
        self.killed = False
        self.end = None
        self.held = 0

    def ended(self):
        return self.end

    def kill(self):
        self.killed = True

    def resident_bytes(self):
        return self.held

    def done(self, answer=None, *, status=0, words=""):
        self.end = Ended(
            status=status, answer=b"" if answer is None else json.dumps(answer).encode(), words=words
        )


class FakeLauncher:
    """Remembers what was started."""

    def __init__(self):
        self.children = []
        self.refusal = None

    def start(self, interpreter, module, arguments, environ):
        if self.refusal:
            raise self.refusal
        self.children.append(FakeChild(module, arguments, environ))
        return self.children[-1]

    @property
    def last(self):
        return self.children[-1]


class FakeSenses:
    """As busy as it is told to be."""

    def __init__(self, clock):
        self.clock = clock
        self.foreign = 0.0
        self.waiting = None
        self.obstacle = None
        self.program = None
        self.own = 0.0
        self._before = None

    def sample(self, busy_seconds, *, measuring):
        before, self._before = self._before, self.clock.running
        if before is None:
            return None
        return Sample(
            began=before,
            ended=self._before,
            foreign_cpus=self.foreign,
            waiting=self.waiting,
            obstacle=self.obstacle,
        )

    def running(self, names):
        return self.program if self.program in names else None

    def own_seconds(self):
        return self.own


class Clock:
    def __init__(self):
        self.running, self.slept, self.wall = 1000.0, 0.0, NOON

    def __call__(self):
        return Moment(self.running, self.running + self.slept, self.wall)

    def pass_by(self, seconds):
        self.running += seconds
        self.wall += seconds


class Scene:
    """A keeper with everything around it faked."""

    LISTED = (PYTHON,)

    def __init__(self, folder, **settings):
        self.clock = Clock()
        self.launcher = FakeLauncher()
        self.senses = FakeSenses(self.clock)
        self.usable = (4, "none")
        self.said = []
        self.folder = folder
        (folder / "state").mkdir(exist_ok=True)
        (folder / "profiles").mkdir(exist_ok=True)
        self.settings = Settings(**{"interpreters": (PYTHON,), "idle": QUICK, "calibrate": False, **settings})
        self.begin()

    def begin(self):
        """A daemon starts, as after a kill."""
        places = Places(
            configuration=self.folder / "daemon.yaml",
            state=self.folder / "state",
            run=self.folder / "run",
            profiles=self.folder / "profiles",
            spool=self.folder / "spool",
            shared=False,
            mirror=self.mirror,
        )
        self.keeper = Keeper(
            self.settings,
            places,
            launcher=self.launcher,
            senses=self.senses,
            log=Log(self, environ={}),
            now=self.clock,
            usable=lambda: self.usable,
            memory_bytes=2**30,
        )

    def write(self, text):
        self.said.append(json.loads(text))

    def flush(self):
        pass

    @property
    def events(self):
        return [line["event"] for line in self.said]

    @property
    def profile(self):
        return self.folder / "profiles" / "mine.yaml"

    @property
    def mirror(self):
        return self.folder / "mirror"

    def tick(self, seconds=0.0):
        self.clock.pass_by(seconds)
        self.keeper.tick()

    def until_idle(self):
        """Tick until the window is open."""
        for _ in range(10):
            self.tick(10.0)
            if self.keeper.window.open:
                return
        raise AssertionError(self.keeper.window)

    def answer_survey(self, *entries, facts=FACTS, key="k1"):
        """The clerk's answer to the survey that runs."""
        assert self.launcher.last.arguments[0] == "survey"
        rows = [
            [
                *(one.operation.name, one.operation.dtype, one.operation.size),
                *(one.status, one.ratio, one.undecided, one.level, one.path, one.contested),
            ]
            for one in entries
        ]
        self.launcher.last.done(
            {
                "key": key,
                "host": "h1",
                "facts": facts,
                "watch": [],
                "profile": str(self.profile),
                "created": None,
                "entries": rows,
            }
        )

    def surveyed(self, *entries, **words):
        """A keeper that knows its interpreter, and trusts the profile of `entry`, which is not there."""
        self.keeper.memory.trusted["/p/mine.yaml"] = []
        self.tick()
        self.answer_survey(*entries, **words)
        self.tick(0.5)
        return self
