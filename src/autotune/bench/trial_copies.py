"""Copies of a trial that run at the same time, as ranks or web workers do that share the CPUs.

The first of them is the trial; the others follow it: whatever arm it is about to time, they put into force and repeat
until the next one. So a sample always begins and ends among copies that do the same work in the same way, and the trial
alone decides what, how often and for how long.
"""

import os
import select
import socket
import struct
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import NoReturn

from autotune.bench import workloads
from autotune.bench.trial_job import TrialJob
from autotune.bench.workloads.workload import Work, Workload
from autotune.controls.apply_configuration import ConfigurationScope
from autotune.model.configuration import Configuration

TURN = struct.Struct("=ii")
"""Task and arm. An arm below zero stands for the task's inputs, a task below zero for rest."""
READY = b"+"


class Copies:
    """The other copies, for the trial's use. Only the trial, which marks its arms, may wait for them.

    Ends this process when one of them has ended: the arm that is marked is the culprit, and the others get
    their turn in a fresh process.
    """

    def __init__(self, controls: Sequence[socket.socket] = ()) -> None:
        self._controls = tuple(controls)

    def prepare(self, task: int) -> None:
        """Have every copy make the task's inputs. Returns at once."""
        self._send(task, -1)

    def join(self, task: int, arm: int) -> None:
        """Have every copy repeat this arm until told otherwise. Returns when all of them are at it."""
        self._send(task, arm)
        if not all(_ready(control) for control in self._controls):
            _end()

    def rest(self) -> None:
        """Have every copy drop its inputs and wait."""
        self._send(-1, -1)

    def _send(self, *turn: int) -> None:
        try:
            for control in self._controls:
                control.sendall(TURN.pack(*turn))
        except OSError:
            _end()


def fork(copies: int) -> list[socket.socket] | socket.socket:
    """Fork copies of this process. The trial gets a socket to each of them, a copy the socket to the trial.

    To be called before any thread is started. A copy prints nothing; it belongs to the trial's process group,
    and ends once the trial is gone.
    """
    lines: list[socket.socket] = []
    for _ in range(copies):
        here, there = socket.socketpair()
        if os.fork() == 0:
            for line in (*lines, here):
                line.close()
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            return there
        there.close()
        lines.append(here)
    return lines


def follow(job: TrialJob, control: socket.socket) -> None:
    """Follow the trial until it is gone. Whatever goes wrong ends this copy, which the trial notices."""
    with ExitStack() as stack:
        while len(text := control.recv(TURN.size, socket.MSG_WAITALL)) == TURN.size:
            place, index = TURN.unpack(text)
            if index < 0:
                stack.close()
            if place >= 0 and index < 0:
                operation = job.tasks[place].operation
                workload: Workload = job.workloads.get(operation.name) or workloads.find(operation.name)
                work = workload.prepare(operation, workload.layouts[0], job.seed)
                stack.callback(work.close)
            elif place >= 0:
                arm = next(arm for arm in job.tasks[place].arms if arm.index == index)
                _repeat(job, arm.configuration, work, control)


def _repeat(job: TrialJob, chosen: Configuration, work: Work, control: socket.socket) -> None:
    """Repeat one arm until the next turn comes."""
    call = work.plain if chosen.is_default else work.tuned(chosen)
    with ConfigurationScope(chosen, usable_cpus=job.thread_limit(chosen)):
        call()
        control.sendall(READY)
        while not select.select([control], [], [], 0)[0]:
            call()


def _ready(control: socket.socket) -> bool:
    try:
        return control.recv(1) == READY
    except OSError:
        return False


def _end() -> NoReturn:
    sys.stdout.write("A copy that ran at the same time ended.\n")
    sys.stdout.flush()
    os._exit(1)
