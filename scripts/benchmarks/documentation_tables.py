"""The tables of the documentation, made from a results file. For run_all.

A table stands between `<!-- gains: ... -->` and `<!-- end of gains -->`; what is between is replaced.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

Results = Mapping[str, Any]

GAINS = {
    ("figures", "log_allocating"): "`np.log(x)` of 10 million numbers, into a result that is reused",
    ("figures", "log_out"): "the same, against `np.log(x, out=y)`",
    ("figures", "sqrt_allocating"): "`np.sqrt(x)` of 10 million numbers, into a result that is reused",
    ("figures", "sqrt_out"): "the same, against `np.sqrt(x, out=y)`",
    ("figures", "fill_allocating"): "filling 10 million numbers, against `np.full`",
    ("course", "qr_in_a_loop"): "50 QR of 128 x 128 in a loop",
    ("course", "svd_in_a_loop"): "50 SVD of 128 x 128 in a loop",
    ("course", "shared_array"): "10 million numbers incremented by several processes, against `multiprocessing.Pool`",
    ("course", "tasks_of_2000"): "100 tasks that load and multiply 2000 x 2000",
    ("course", "tasks_of_300"): "300 tasks that load and multiply 300 x 300",
    ("course", "stack"): "the inverses of 10,000 matrices of 16 x 16",
    ("course", "large_product"): "a product of 4096 x 4096",
}
"""Rows about whole programs, in this order, with their words."""

CALLS = (
    "add_out",
    "sqrt_out",
    "exp_out",
    "log_out",
    "power_out",
    "log_hand",
    "log_allocating",
    "sqrt_allocating",
    "fill_share",
    "copy_share",
    "add_share",
    "product_share",
    "expression_numpy",
    "expression_numexpr",
    "expression_joblib",
    "expression_dask",
    "expression_numba",
    "loop_default",
    "loop_ideal",
    "executor",
    "small_sqrt_10",
    "small_add_1000",
    "switch_cholesky_same",
    "switch_cholesky_change",
    "switch_matmul_same",
    "switch_matmul_change",
    "switch_scipy_same",
    "switch_scipy_change",
    "guard_call",
    "record_solve",
)
"""Rows about single calls, in this order; docs/benchmarks.md tells what each compares."""

DAEMON = {
    "idle_cpu": "CPU time when it has nothing to do",
    "idle_memory": "its memory",
    "idle_wakeups": "its wake-ups",
    "busy_cpus_back": "until a machine that becomes busy has its CPUs back",
    "busy_contended_published": "contended trials that were published",
    "periodic_starts_and_stops": "starts and stops by a load of 1 s every 10 s",
    "foreground_slowdown": "a NumPy job in the foreground takes longer by",
    "stop_in_a_trial": "SIGTERM in a trial, until it and all its children are gone",
    "kill_torn_files": "torn files after SIGKILL at random moments",
    "kill_children_alive_after_5_s": "children alive 5 s later",
    "kill_finished_trials_lost": "finished trials lost",
    "kill_refused_to_start": "starts that failed after one",
    "noticed_numpy": "until another NumPy is noticed",
    "noticed_coretype": "until another OPENBLAS_CORETYPE is noticed",
    "noticed_cpuset": "until another cpuset is noticed",
    "noticed_quota": "until another quota is noticed",
    "planted_retimings": "re-timings until a planted bad profile is put aside",
    "crowd_status": "slowest status among idle and hostile connections",
}
"""Rows about the daemon, with their words."""

NOISES = {
    "common": "common slow-downs",
    "states": "two states, 1 to 30 s",
    "bursts-15": "bursts, 15 % of a CPU",
    "bursts-30": "bursts, 30 % of a CPU",
    "in-step": "burst in step with the pairs",
    "tails": "heavy tails",
    "processes": "differences between processes",
    "bimodal": "two layouts for each process",
    "sleep": "a sleep",
    "clock": "a clock that jumps",
    "scatter-1/3": "scatter of 1 % between processes, 3 % of pairs",
    "scatter-2/6": "scatter of 2 % and 6 %",
    "scatter-5/10": "scatter of 5 % and 10 %",
}
"""Kinds of noise, with their words."""
EFFECTS = (0.0, 0.02, -0.05)
"""True effects in the table of accepted differences: time of the choice over the default's, less 1."""


def put_tables(root: Path, results: Results) -> None:
    """Replace the tables in README.md and in docs that there are results for."""
    for path, name, of, table in TABLES:
        if results_of(results, of):
            page = root / path
            page.write_text(replaced(page.read_text("utf-8"), name, "\n".join(table(results))), "utf-8")


def replaced(text: str, name: str, table: str) -> str:
    """Return the page with another table between its marks. Raises ValueError where they are missing."""
    marks = re.compile(rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    if not marks.search(text):
        raise ValueError(f"there are no marks for {name} in the page")
    return marks.sub(lambda match: f"{match[1]}{table}\n{match[2]}", text)


def few_gains(results: Results) -> Iterable[str]:
    """Return the README's table."""
    rows = [(item["title"], item) for item in results_of(results, "readme")]
    return gains_of(rows, results, "readme")


def gains(results: Results) -> Iterable[str]:
    """Return the table of whole programs."""
    rows = [(words, row(results, *where)) for where, words in GAINS.items()]
    return gains_of(rows, results, "figures", "course")


def gains_of(rows: Sequence[tuple[str, Mapping[str, Any] | None]], results: Results, *benchmarks: str) -> Iterable[str]:
    """Return a table of programs, with the machine above it and the commands below."""
    yield from wrap(
        f"{where_and_when(results, *benchmarks)} Plain time divided by the time with autotune, with its 95 % interval; "
        "each side in fresh processes, interleaved.",
        width=120,
    )
    yield ""
    yield "| work | gain |"
    yield "|---|---|"
    kept = [words for words, item in rows if item is not None and item.get("configuration") == "default"]
    for words, item in rows:
        if item is not None and item.get("ratio") is not None and words not in kept:
            yield f"| {words} | {figure(item)} |"
    if kept:
        yield f"| {'; '.join(kept)} | none: the default is kept |"
    yield ""
    commands = (f"`{results['benchmarks'][name]['command']}`" for name in benchmarks)
    yield f"Reproduced by {' and '.join(commands)}."


def calls(results: Results) -> Iterable[str]:
    """Return the table of gains and costs of single calls."""
    yield "| call | times as fast | or longer by |"
    yield "|---|---|---|"
    for item in (row(results, "runtime", name) for name in CALLS):
        if item is not None and item.get("ratio") is not None:
            yield f"| {item['title']}{_doubt(item)} | {figure(item)} | |"
        elif item is not None and item.get("microseconds") is not None:
            yield f"| {item['title']} | | {item['microseconds']:.2f} µs ({item['low']:.2f} to {item['high']:.2f}) |"
    yield ""
    yield _command(results, "runtime")


def _doubt(item: Mapping[str, Any]) -> str:
    """Was the machine less than free, or nothing tuned?"""
    return " (the default is kept)" * (item.get("configuration") == "default") + " \\*" * bool(item.get("problem"))


def daemon(results: Results) -> Iterable[str]:
    """Return the table of the daemon's costs and promises."""
    yield from wrap(where_and_when(results, "daemon"), 120)
    yield ""
    yield "| what | at most | measured |"
    yield "|---|---|---|"
    for name, words in DAEMON.items():
        item = row(results, "daemon", name)
        if item is not None and item["value"] is not None:
            value, limit = (float(f"{item['value']:.3g}"), "" if item["limit"] is None else f"{item['limit']:g}")
            measured = f"{value:g} {item['unit'].partition(';')[0]}".rstrip()
            yield f"| {words} | {limit} | {measured} |"
    yield ""
    yield _command(results, "daemon")


_ON_REQUEST = "`apply(per_call=True)`"
"""The title of results from versions in which a plain `apply()` did not switch single calls."""


def _as_of_today(title: str) -> str:
    """Return the title of such a result with the call that does the same now."""
    if _ON_REQUEST in title:
        return title.replace(_ON_REQUEST, "`apply()`")
    return title.replace("`apply()`", "`apply(per_call=False)`")


def libraries(results: Results) -> Iterable[str]:
    """Return the table of gains of programs that use other libraries."""
    benchmark = results["benchmarks"]["libraries"]
    is_on_request = any(_ON_REQUEST in item["title"] for item in benchmark["results"])
    yield from wrap(f"{where_and_when(results, 'libraries')} Above 1 the program is faster with autotune.", 120)
    yield ""
    yield "| program | gain |"
    yield "|---|---|"
    for item in benchmark["results"]:
        outcome = figure(item) if item.get("ratio") is not None else item.get("skipped") or item.get("problem")
        yield f"| {item['title'] if not is_on_request else _as_of_today(item['title'])} | {outcome} |"


def accepted(results: Results) -> Iterable[str]:
    """Return the table of accepted differences, by the kind of noise: some that are not there, and a gain of 5 %."""
    yield "| noise | identical, accepted: workers, threads | 2 % slower: workers, threads | 5 % faster, found |"
    yield "|---|---|---|---|"
    by_case = {
        (item["noise"], item["candidate"], item["effect"]): item for item in results["benchmarks"]["aa"]["results"]
    }
    for noise in dict.fromkeys(noise for noise, _, _ in by_case):
        cells = []
        for effect in EFFECTS:
            rows = [by_case[noise, candidate, effect] for candidate in ("workers", "threads")]
            counts = [f"{each['rate']:.0%}" if effect < 0 else f"{each['accepted']} of {each['runs']}" for each in rows]
            cells.append(", ".join(counts))
        yield f"| {NOISES.get(noise, noise)} | {' | '.join(cells)} |"
    yield ""
    yield _command(results, "aa")


def regret(results: Results) -> Iterable[str]:
    """Return the table of searches' distances from the optimum, over all kinds of noise."""
    yield "| searcher | within 2 % of the best | slower than the default by more than 1 % | timings taken |"
    yield "|---|---|---|---|"
    trials = results["benchmarks"]["simulated"]["results"]
    for searcher in dict.fromkeys(item["searcher"] for item in trials):
        rows = [item for item in trials if item["searcher"] == searcher]
        within, slower, share = (
            sum(item[name] for item in rows) / len(rows)
            for name in ("within_2_percent", "slower_by_1_percent", "share_of_round_robin")
        )
        yield f"| {searcher} | {within:.0%} | {slower:.1%} | {share:.1%} of round-robin's |"
    yield ""
    yield _command(results, "simulated")


def between(results: Results) -> Iterable[str]:
    """Return the table of choices between measured sizes, by the kind of noise."""
    yield "| noise | sizes | at least 95 % of the best speed | over 1 % slower than the default | largest loss |"
    yield "|---|---|---|---|---|"
    for item in results["benchmarks"]["transfer"]["results"]:
        if item["what"] == "between":
            yield (
                f"| {item['noise']} | {item['sizes']} | {item['reach_95_percent']:.0%} "
                f"| {item['slower_by_1_percent']:.0%} | {item['max_regret']:.1%} |"
            )
    yield ""
    yield _command(results, "transfer")


def _command(results: Results, name: str) -> str:
    benchmark = results["benchmarks"][name]
    return f"Reproduced by `{benchmark['command']}`; {benchmark['ended'][:10]}."


def where_and_when(results: Results, *names: str) -> str:
    """Name the machine, the versions and the day."""
    return " ".join(dict.fromkeys(_where_and_when(results["benchmarks"][name]) for name in names))


def _where_and_when(benchmark: Mapping[str, Any]) -> str:
    machine = benchmark["machine"]
    return (
        f"{machine['cpu']}, {machine['usable_cpus']} CPUs; NumPy {machine['numpy']}, {machine['blas']}, "
        f"Python {machine['python']}; {benchmark['ended'][:10]}."
    )


def results_of(results: Results, benchmark: str) -> Sequence[Mapping[str, Any]]:
    """Return the rows of a benchmark; none where it was not run."""
    rows: Sequence[Mapping[str, Any]] = results["benchmarks"].get(benchmark, {"results": []})["results"]
    return rows


def row(results: Results, benchmark: str, name: str) -> Mapping[str, Any] | None:
    """Return one row of a benchmark; None where it was not measured."""
    return next((item for item in results_of(results, benchmark) if item["name"] == name), None)


def figure(item: Mapping[str, Any]) -> str:
    """Format a gain with its interval."""
    return f"{item['ratio']:.2f} ({item['low']:.2f} to {item['high']:.2f})"


TABLES = (
    ("README.md", "gains", "readme", few_gains),
    ("docs/benchmarks.md", "all-gains", "course", gains),
    ("docs/benchmarks.md", "calls", "runtime", calls),
    ("docs/daemon.md", "daemon", "daemon", daemon),
    ("docs/libraries.md", "libraries", "libraries", libraries),
    ("docs/believe.md", "accepted", "aa", accepted),
    ("docs/believe.md", "regret", "simulated", regret),
    ("docs/believe.md", "between", "transfer", between),
)
"""Page, name between the marks, benchmark without which there is no table, and what makes it."""
