"""Functions of a user that behave well, or badly with two workers. Run in trial processes only."""

import os
import signal
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np


def steady(n, workers=1):
    time.sleep(0.001)
    return np.arange(n)


def logging(n, workers=1):
    with Path(os.environ["AUTOTUNE_TEST_LOG"]).open("a") as file:
        file.write(f"{workers}\n")
    time.sleep(0.12)  # long enough for one call to be a sample, and for no call to be discarded


def crashing(n, workers=1):
    if workers == 2:
        sys.stdout.write("about to crash\n")
        os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(0.001)


def killed(n, workers=1):
    if workers == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.001)


def raising(n, workers=1):
    if workers == 2:
        raise ZeroDivisionError("two is too many")
    time.sleep(0.001)


def leaving(n, workers=1):
    if workers == 2:
        sys.exit(3)
    time.sleep(0.001)


def vanishing(n, workers=1):
    if workers == 2:
        os._exit(0)
    time.sleep(0.001)


def wrong(n, workers=1):
    time.sleep(0.001)
    return np.arange(n) + (workers == 2)


def hanging(n, workers=1):
    if workers == 2:
        grandchild = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
        Path(os.environ["AUTOTUNE_TEST_LOG"]).write_text(f"{os.getpid()} {grandchild.pid}")
        time.sleep(600)
    time.sleep(0.001)


def slow(n, workers=1):
    time.sleep(600)


def greedy(n, workers=1):
    if workers == 2:
        return np.ones(2**44)
    time.sleep(0.001)
    return None


def noisy(n, workers=1):
    sys.stdout.write("x" * 200_000 + "\n")
    sys.stderr.write('{"done": true}\n')
    os.write(1, b'{"round": 0}\n')
    time.sleep(0.001)


def babbling(n, workers=1):
    """Writes rubbish into every pipe that could be a way home."""
    if workers == 2:
        for descriptor in range(3, 40):
            with suppress(OSError):
                if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
                    os.write(descriptor, b"rubbish\n")
        time.sleep(0.05)
    time.sleep(0.001)


def failing_at_once(n, workers=1):
    raise MemoryError("no room for the default")


def telling(n, workers=1):
    with Path(os.environ["AUTOTUNE_TEST_LOG"]).open("a") as file:
        file.write(f"{os.getpid()} {workers}\n")
    time.sleep(0.02)


def dying_copies(n, workers=1):
    leads = os.getpgid(0) == os.getpid()
    if workers == 2 and not leads:
        os._exit(1)
    time.sleep(0.01)


def crashing_late(n, workers=1):
    """With two workers it crashes in its fourth process."""
    log = Path(os.environ["AUTOTUNE_TEST_LOG"])
    processes = log.read_text().split() if log.exists() else []
    if str(os.getpid()) not in processes:
        log.write_text(" ".join([*processes, str(os.getpid())]))
        processes.append(str(os.getpid()))
    if workers == 2 and len(processes) >= 4:
        os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(0.001)


def product(rows):
    x = np.ones((800, 800))
    return x @ x
