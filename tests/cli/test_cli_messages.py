"""Every sentence that is made of parts, word for word. The fixed ones are in test_cli_words, the daemon's answers in
test_cli_daemon.
"""

import inspect
from dataclasses import replace
from pathlib import Path

import pytest
from support.profile_builders import make_entry

from autotune.cli import messages
from autotune.model.allocation import Limit
from autotune.model.configuration import Configuration
from autotune.model.measurement import Failure, FailureKind
from autotune.search.events import Exploring
from autotune.search.verification import Check, Standing

ONE = Configuration(blas_threads=1)
BOTH = Configuration(blas_threads=1, workers=2)
TUNED = make_entry("svd", choice={"blas_threads": 1}, ratio=0.5, m=8, n=8)
KEPT = make_entry("svd", m=8, n=8)
EXPLORING = Exploring(elapsed=5.0, remaining=60.0, name="svd", dtype="float32", index=1, total=2)
CHECK = Check(entry=TUNED, standing=Standing.HOLDS, reason="Proved faster than the default again.")
SAID = [
    (messages.best("svd n=8", ONE, 0.5), "  svd n=8: blas_threads=1 looks 2.00x as fast as the default"),
    (messages.best_so_far(ONE, 0.5), "best so far blas_threads=1 at 2.00x the default"),
    (messages.cannot_run("make", "it is gone"), "autotune run: make cannot be run: it is gone."),
    (messages.cluster_class("intel-1", hosts=1), "\nClass intel-1, measured by 1 host:"),
    (messages.cluster_class("intel-1", hosts=2), "\nClass intel-1, measured by 2 hosts:"),
    (
        messages.cluster_ended("The scheduler is gone."),
        "The scheduler is gone. What finished before is kept.",
    ),
    (
        messages.cluster_missed("intel-1", "svd", "no host had time."),
        "svd of class intel-1: no host had time.",
    ),
    (
        messages.cluster_now(["a: self-test", "b: search of svd"], standing=(5, 2, 1), elapsed=65.0),
        "2/5 searched, 1 to confirm, 1:05 | a: self-test | b: search of svd",
    ),
    (
        messages.cluster_published(2, "/nfs/autotune"),
        "Published for 2 hosts to /nfs/autotune. `autotune pull` brings it to each node.",
    ),
    (
        messages.cluster_written("p.yaml"),
        "Written: p.yaml. Nodes of this class that see this folder use it; `autotune calibrate --scheduler` with a store (`--store`) gives it to the others.",
    ),
    (messages.corners([(BOTH, 0.5), (ONE, 2.0)]), "BLAS threads x workers: 1 x 2 2.00x, 1 x 1 0.50x"),
    (
        messages.daemon_installed(["a.service", "b.socket"], "systemctl start a"),
        "Written: a.service, b.socket. Start it with `systemctl start a`.",
    ),
    (
        messages.daemon_ordered("svd n=8"),
        "svd n=8 is measured next, once the machine is idle; `autotune daemon status` says what it waits for.",
    ),
    (messages.daemon_paused(None), "The daemon measures nothing until `autotune daemon resume`."),
    (messages.daemon_stopped(7), "The daemon (process 7) has ended. Profiles stay in force."),
    (messages.daemon_paused("2h"), "The daemon measures nothing for 2h."),
    (messages.decided("svd n=8", TUNED), "  svd n=8: blas_threads=1, 2.00x (1.82 to 2.22)"),
    (messages.decided("svd n=8", KEPT), "  svd n=8: default kept: Made by hand."),
    (messages.no_such_verb("calibrat", "calibrate"), "There is no verb 'calibrat'. Did you mean calibrate?"),
    (
        messages.undecided(1, "autotune calibrate svd --until-decided"),
        "1 entry is undecided: the time ended, or others used the CPUs. To decide the rest: autotune calibrate svd --until-decided",
    ),
    (messages.earlier(1), "It also holds 1 entry of earlier runs, which stay in use."),
    (messages.earlier(2), "It also holds 2 entries of earlier runs, which stay in use."),
    (
        messages.empty_class("intel-1", "/nfs/autotune"),
        "The store /nfs/autotune holds nothing of intel-1 that is believed here.",
    ),
    (messages.empty_store("/nfs/autotune"), "The store /nfs/autotune is empty."),
    (messages.error("It is so."), "autotune: It is so."),
    (messages.exists_already("h.log"), "h.log exists already: name a new file."),
    (messages.for_cpus(1, 2, cpus=1), "Allocation 1 of 2: 1 CPU"),
    (messages.for_cpus(2, 2, cpus=4), "Allocation 2 of 2: 4 CPUs"),
    (
        messages.history_written("h.log", 1),
        "h.log holds 1 study, one for every size. `pip install optuna-dashboard`, then: optuna-dashboard h.log",
    ),
    (
        messages.history_written("h.log", 2),
        "h.log holds 2 studies, one for every size. `pip install optuna-dashboard`, then: optuna-dashboard h.log",
    ),
    (messages.how_to_see("autotune"), "See it in pictures, in a browser: autotune report --html report.html"),
    (
        messages.how_to_use("p.yaml", found=True),
        "Programs use it by autotune.apply(), map_blocks and the like; `autotune explain` says what applies.",
    ),
    (
        messages.how_to_use("p.yaml", found=False),
        "Programs do not look there by themselves: set AUTOTUNE_PROFILE=p.yaml for them.",
    ),
    (
        messages.job_done("search of svd", "a", {"tuned": 2}, (5, 2, 1)),
        "[2/5, 1 to confirm] Host a: search of svd: 2 tuned.",
    ),
    (messages.job_done("self-test", "a", {}, (5, 0, 0)), "[0/5, 0 to confirm] Host a: self-test."),
    (
        messages.job_failed("self-test", "a", "It is gone.", busy=False),
        "Host a: self-test: It is gone. Another host is asked, if there is one.",
    ),
    (
        messages.job_failed("self-test", "a", "It is busy.", busy=True),
        "Host a: self-test: It is busy. It is asked again.",
    ),
    (messages.job_name("search", "svd"), "search of svd"),
    (messages.job_running("self-test", "a"), "a: self-test"),
    (
        messages.key_use("key.pem", "ops"),
        "This is key ops; its private part is in key.pem. Others trust it once this line stands in `trusted_keys` of their config.yaml.",
    ),
    (messages.libraries(None, numpy=None), "BLAS unknown, NumPy unknown"),
    (messages.libraries("openblas 0.3", numpy="2.4"), "BLAS openblas 0.3, NumPy 2.4"),
    (messages.listed_class("intel-1", hosts=1, files=2), "intel-1  1 host, 2 publications"),
    (
        messages.listed_publication("a", created=None, entries=1, signer=None),
        "a  at an unknown time  1 entry",
    ),
    (
        messages.listed_publication("a", created="2026-01-02", entries=2, signer="ops"),
        "a  2026-01-02  2 entries, signed by ops",
    ),
    (messages.machine(None, cpus=1, limit=Limit.QUOTA), "Unknown CPU: 1 usable CPU, limited by a CPU quota"),
    (messages.machine("A CPU", cpus=8, limit=Limit.NONE), "A CPU: 8 usable CPUs"),
    (
        messages.made(None, version=None, effort=None, resolution=None),
        "Measured at an unknown time by an unknown version",
    ),
    (
        messages.made(
            "2026-01-02", version="0.1.0", effort="quick", resolution=0.012, neighbours=1, copies=2
        ),
        "Measured 2026-01-02 by autotune 0.1.0, effort quick, 2 copies of each trial at once, beside 1 busy process; differences below 1.2% cannot be told",
    ),
    (
        messages.mirrored("intel-1", entries=1, hosts=1, confirmed=0, contested=0),
        "intel-1: 1 entry of 1 host; 0 confirmed.",
    ),
    (
        messages.mirrored("intel-1", entries=4, hosts=2, confirmed=3, contested=1),
        "intel-1: 4 entries of 2 hosts; 3 confirmed, 1 contested.",
    ),
    (messages.operations(["qr", "svd"]), "Operations: qr, svd."),
    (messages.more_refused(3), "3 more are not used; --json names them all."),
    (
        messages.no_mirror(OSError("the disk is full")),
        "What was pulled cannot be written (the disk is full). Programs go on with what they had.",
    ),
    (
        messages.no_place("--chunks", "{chunk}"),
        "--chunks needs a place to put its values: write {chunk} into the command's arguments.",
    ),
    (
        messages.no_store("config.yaml"),
        "No store is named. Write `store: /nfs/autotune` (a folder or a URL) into config.yaml, set AUTOTUNE_STORE, or give --store.",
    ),
    (
        messages.no_values("{chunk}", "--chunks"),
        "The command has {chunk}: give the values to try, its usual one first, as --chunks 10000,100000.",
    ),
    (messages.not_a_class("Intel"), "'Intel' is not the name of a class; `autotune list` prints them."),
    (
        messages.not_a_name("A b"),
        "--name 'A b' cannot stand in a profile: use at most 50 small letters, digits and _.",
    ),
    (messages.not_a_pattern("(", "missing )"), "--metric '(' is not a regular expression: missing )."),
    (
        messages.not_a_profile("notes.txt", "it is empty."),
        "notes.txt exists and is not a profile (it is empty). Name another file with --output.",
    ),
    (
        messages.not_on_nodes("--cpus", "each node has its own."),
        "--scheduler does not go with --cpus: each node has its own.",
    ),
    (
        messages.not_published("The store is full."),
        "The store is full. What was measured is written to files instead.",
    ),
    (
        messages.not_whole_numbers("--workers", "1,x"),
        "--workers '1,x' is not a list of whole numbers of at least 1, such as 1,2,4.",
    ),
    (
        messages.not_written("x.html", "no space"),
        "x.html could not be written (no space). Nothing was changed: name another file.",
    ),
    (
        messages.nothing_pulled("/nfs/autotune"),
        "The store /nfs/autotune holds nothing that is believed here for this kind of machine. `autotune calibrate` and `autotune publish` change that.",
    ),
    (
        messages.now(None, doing="", best="", elapsed=5.0, remaining=60.0),
        "getting ready | 0:05 spent, 1:00 left",
    ),
    (
        messages.now("[1/2] exploring svd", doing="tried x", best="best y", elapsed=5.0, remaining=60.0),
        "[1/2] exploring svd | 0:05 spent, 1:00 left | best y | tried x",
    ),
    (messages.numpy_and_python(None, None), "NumPy not found, Python with a GIL"),
    (messages.numpy_and_python("2.4", "free-threaded"), "NumPy 2.4, Python with free threading"),
    (messages.profile_at("p.yaml"), "Profile p.yaml"),
    (messages.pruned("a.json", "it is old.", gone=True), "a.json is removed: it is old."),
    (messages.pruned("a.json", "it is old.", gone=False), "a.json would go: it is old."),
    (messages.pruned_all(1, gone=True), "1 file removed."),
    (messages.pruned_all(2, gone=False), "2 files would go."),
    (messages.published("p.yaml", "a.json", new=True), "p.yaml is in the store as a.json."),
    (messages.published("p.yaml", "a.json", new=False), "The store has p.yaml already, as a.json."),
    (messages.refused_file("a.json", "nobody signed it."), "a.json is not used: nobody signed it."),
    (messages.report_written("x.html"), "The report is in x.html: open it in a browser."),
    (
        messages.resumed_differs(["budget", "seed"]),
        "The interrupted calibration was asked something else: budget, seed. Give --resume alone to go on with it, or leave --resume out to begin anew.",
    ),
    (messages.retained(2**30), "The process holds 1.00 GiB more memory than by default."),
    (
        messages.risk(0.025, tested=1),
        "1 operation was tested; at most 0.025 wrong choices are expected among them",
    ),
    (
        messages.risk(0.1, tested=4),
        "4 operations were tested; at most 0.1 wrong choices are expected among them",
    ),
    (
        messages.small_quota(0.5),
        "The CPU quota is 0.5 of one CPU: everything is paused in between, so what is found here says little. Calibrate with a quota of at least one CPU if you can.",
    ),
    (messages.explored(EXPLORING), "[1/2] exploring svd float32  (0:05 spent, 1:00 left)"),
    (
        messages.store_away("The store is away."),
        "The store is away. The calibration begins without what other machines found.",
    ),
    (messages.summary({"tuned": 2, "default kept": 1}), "2 tuned, 1 default kept."),
    (
        messages.too_many_workers(9, 8),
        "9 workers do not fit the 8 CPUs that may be used here; leave them out.",
    ),
    (
        messages.trial_failed("svd n=8", ONE, Failure(kind=FailureKind.CRASH, reason="Signal 11.")),
        "  svd n=8: blas_threads=1 crash: Signal 11.",
    ),
    (messages.trying(ONE), "tried blas_threads=1"),
    (
        messages.tuned(TUNED, by=messages.BY_TIME),
        "2.00x (1.82 to 2.22) as good as the command as it stands, by its time, in 60 pairs of runs.",
    ),
    (messages.tuned(KEPT, by=messages.BY_TIME), "Default kept: Made by hand."),
    (
        messages.tuned_together("einsum", "matmul"),
        "einsum is tuned as matmul, work of the same shape: matmul is measured.",
    ),
    (messages.entry_written("p.yaml", "command.make"), "The profile p.yaml holds it as command.make."),
    (
        messages.unsaid("No space left"),
        "autotune: the output could not be written (No space left). What was asked is done; only its words are lost.",
    ),
    (
        messages.usable(2, Limit.AFFINITY),
        "CPUs that a program may keep busy: 2, limited by an affinity mask or cpuset.",
    ),
    (messages.verdict([]), "The profile has no choices to verify: it changes nothing."),
    (messages.verdict([CHECK]), "1 holds."),
    (
        messages.verdict([replace(CHECK, standing=Standing.OPEN)]),
        "1 could not be told. A larger --budget, on a quiet machine, tells the rest.",
    ),
    (
        messages.verdict([replace(CHECK, standing=Standing.SLOWER), CHECK]),
        "1 holds, 1 SLOWER than plain NumPy. `autotune calibrate` with these operations measures them anew.",
    ),
    (
        messages.warm_start(1, brought=2, chosen=3, seconds=65.0),
        "Warm start from 1 profile of the store: 2 of 3 choices came from there and were tried first, which saved 1:05 of search or more.",
    ),
    (messages.worker_came("a", "w1", None), "Host a (w1) takes part."),
    (messages.worker_came("a", "w1", "intel-1"), "Host a (w1) takes part, class intel-1."),
    (messages.worker_left("w1", None), "Worker w1 is gone."),
    (messages.worker_left("w1", "self-test"), "Worker w1 is gone. Its self-test goes to another."),
    (messages.worker_refused("w1", "it has no NumPy."), "Worker w1 is left out: it has no NumPy."),
    (
        messages.workload_alone("svd"),
        "--workload tunes your function alone; calibrate svd with a command of its own.",
    ),
    (
        messages.workload_failed("mine.py:f", "It raised."),
        "mine.py:f could not be measured, so nothing was written. It raised.",
    ),
    (
        messages.written("p.yaml", faster=2, total=3),
        "2 of 3 entries run faster than plain NumPy. The profile is in p.yaml.",
    ),
    (
        messages.written_elsewhere("a.yaml", "b.yaml", "no space"),
        "a.yaml could not be written (no space). Nothing is lost: the profile is in b.yaml.",
    ),
    (
        messages.written_nowhere("a.yaml", "no space"),
        "a.yaml could not be written (no space), and no other place either. Nothing is lost: the profile is printed above; save it as a file, and name that in AUTOTUNE_PROFILE.",
    ),
]
"""What is said, and what should be."""

ANSWERS = {"daemon_status", "daemon_queue", "confirmation_begins", "confirming", "exploring"}
"""Several lines each, or lines that change; test_cli_daemon and test_cli_progress read them."""


@pytest.mark.parametrize(("said", "expected"), SAID)
def test_a_sentence_is_said_word_for_word(said, expected):
    assert said == expected


def test_no_sentence_is_left_out():
    made = {
        name for name, one in inspect.getmembers(messages, inspect.isfunction) if not name.startswith("_")
    }
    source = Path(__file__).read_text("utf-8")
    assert {name for name in made if f"messages.{name}(" not in source} == ANSWERS
