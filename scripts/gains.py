"""The tables of the documentation, made from a results file. For bench_all.

A table stands between `<!-- gains: ... -->` and `<!-- end of gains -->`; what is between is replaced.
"""

import re
from collections.abc import Iterable, Mapping
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
    (
        "course",
        "shared_array",
    ): "10 million numbers incremented by several processes, against `multiprocessing.Pool`",
    ("course", "tasks_of_2000"): "100 tasks that load and multiply 2000 x 2000",
    ("course", "tasks_of_300"): "300 tasks that load and multiply 300 x 300",
    ("course", "stack"): "the inverses of 10,000 matrices of 16 x 16",
    ("course", "large_product"): "a product of 4096 x 4096",
}
"""Rows of the README, in this order, with its words for them."""

NOT_YET = "Not measured yet: `scripts/bench_all --only libraries` fills this table."


def put_tables(root: Path, results: Results) -> None:
    """Replace the tables in README.md and in docs."""
    for path, name, lines in (
        (root / "README.md", "gains", gains(results)),
        (root / "docs/libraries.md", "libraries", libraries(results)),
        (root / "docs/believe.md", "accepted", accepted(results)),
        (root / "docs/believe.md", "regret", regret(results)),
        (root / "docs/believe.md", "between", between(results)),
    ):
        before = path.read_text("utf-8")
        after = replaced(before, name, "\n".join(lines))
        if after != before:
            path.write_text(after, "utf-8")


def replaced(text: str, name: str, table: str) -> str:
    """The page with another table between its marks. Raises ValueError where they are missing."""
    marks = re.compile(rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    if not marks.search(text):
        raise ValueError(f"there are no marks for {name} in the page")
    return marks.sub(lambda found: f"{found[1]}{table}\n{found[2]}", text)


def gains(results: Results) -> Iterable[str]:
    """The README's table, with the machine above it."""
    rows = [(words, row(results, *where)) for where, words in GAINS.items()]
    yield from wrap(
        f"{where_and_when(results, 'figures', 'course')} Plain time divided by the time with autotune, with its 95 % "
        "interval; each side in fresh processes, interleaved, begun only when a test found 95 % of the CPUs free.",
        width=120,
    )
    yield ""
    yield "| work | gain |"
    yield "|---|---|"
    kept = [words for words, one in rows if one is not None and one.get("configuration") == "default"]
    for words, one in rows:
        if one is not None and one.get("ratio") is not None and words not in kept:
            yield f"| {words} | {figure(one)} |"
    if kept:
        yield f"| {'; '.join(kept)} | none: the default is kept |"
    yield ""
    commands = (f"`{results['benchmarks'][name]['command']}`" for name in ("figures", "course"))
    yield f"Reproduced, with more rows, by {' and '.join(commands)}."


def libraries(results: Results) -> Iterable[str]:
    """What programs gain that use other libraries."""
    found = results["benchmarks"].get("libraries")
    if found is None or not found["results"]:
        yield NOT_YET
        return
    yield from wrap(
        f"{where_and_when(results, 'libraries')} Above 1 the program is faster with autotune.", 120
    )
    yield ""
    yield "| program | gain |"
    yield "|---|---|"
    for one in found["results"]:
        outcome = figure(one) if one.get("ratio") is not None else one.get("skipped") or one.get("problem")
        yield f"| {one['title']} | {outcome} |"


def accepted(results: Results) -> Iterable[str]:
    """How often differences were accepted, over all kinds of noise."""
    yield "| true effect | runs | accepted as faster |"
    yield "|---|---|---|"
    found = results["benchmarks"]["aa"]["results"]
    for effect in sorted({one["effect"] for one in found}):
        rows = [one for one in found if one["effect"] == effect]
        runs, count = sum(one["runs"] for one in rows), sum(one["accepted"] for one in rows)
        truth = (
            f"{abs(effect):.0%} {'faster' if effect < 0 else 'slower'}"
            if effect
            else "none: both are the same"
        )
        yield f"| {truth} | {runs} | {count} ({count / runs:.1%}) |"
    yield ""
    yield _command(results, "aa")


def regret(results: Results) -> Iterable[str]:
    """How near to the optimum searches come, over all kinds of noise."""
    yield "| searcher | within 2 % of the best | slower than the default by more than 1 % | timings taken |"
    yield "|---|---|---|---|"
    found = results["benchmarks"]["simulated"]["results"]
    for searcher in dict.fromkeys(one["searcher"] for one in found):
        rows = [one for one in found if one["searcher"] == searcher]
        within, slower, share = (
            sum(one[name] for one in rows) / len(rows)
            for name in ("within_2_percent", "slower_by_1_percent", "share_of_round_robin")
        )
        yield f"| {searcher} | {within:.0%} | {slower:.1%} | {share:.1%} of round-robin's |"
    yield ""
    yield _command(results, "simulated")


def between(results: Results) -> Iterable[str]:
    """What is said of sizes between the measured ones is worth, by the kind of noise."""
    yield "| noise | sizes | at least 95 % of the best speed | over 1 % slower than the default | largest loss |"
    yield "|---|---|---|---|---|"
    for one in results["benchmarks"]["transfer"]["results"]:
        if one["what"] == "between":
            yield (
                f"| {one['noise']} | {one['sizes']} | {one['reach_95_percent']:.0%} "
                f"| {one['slower_by_1_percent']:.0%} | {one['max_regret']:.1%} |"
            )
    yield ""
    yield _command(results, "transfer")


def _command(results: Results, name: str) -> str:
    found = results["benchmarks"][name]
    return f"Reproduced by `{found['command']}`; {found['ended'][:10]}."


def where_and_when(results: Results, *names: str) -> str:
    """The machine, the versions and the day."""
    return " ".join(dict.fromkeys(_where_and_when(results["benchmarks"][name]) for name in names))


def _where_and_when(benchmark: Mapping[str, Any]) -> str:
    here = benchmark["machine"]
    return (
        f"{here['cpu']}, {here['usable_cpus']} CPUs; NumPy {here['numpy']}, {here['blas']}, "
        f"Python {here['python']}; {benchmark['ended'][:10]}."
    )


def row(results: Results, benchmark: str, name: str) -> Mapping[str, Any] | None:
    """One row of a benchmark; None where it was not measured."""
    found = results["benchmarks"].get(benchmark, {"results": []})["results"]
    return next((one for one in found if one["name"] == name), None)


def figure(one: Mapping[str, Any]) -> str:
    """A gain with its interval."""
    return f"{one['ratio']:.2f} ({one['low']:.2f} to {one['high']:.2f})"
