#!/usr/bin/env python3
"""Check the prose of code and pages: openings of docstrings, and words that plain technical English does without.

    scripts/check_prose.py              prints `file:line: reason` for each offence; exit code 1 if there is any
    scripts/check_prose.py src/autotune/cli README.md

A docstring begins with an imperative verb or a noun, not with What, Who, Where or How. Words of the list count in
docstrings, comments, messages, names of tests and pages alike. No variable, parameter or function is named `one`, or by
a bare participle.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PARTS = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "src",
    "tests",
    "scripts",
    "examples",
    "docs",
    "profiles",
)
SUFFIXES = {".py", ".pyi", ".c", ".h", ".md", ".sh", ".toml", ".yaml", ".sbatch", ".service", ".ipynb", ""}

OPENING = re.compile(r"\s*(What|Who|Where|How)\b")
GAP = r"[\s#*'\"]+"
"""Space between the words of a phrase, which may go on in the next line of a paragraph, comment or string."""
WORDS = re.compile(
    r"(?<![A-Za-z])(nobody|somebody|anybody|whoever|in vain|at hand|reckon(?:s|ed|ing)?|beside|so many|hardly"
    r"|all the same|as ever|of one's own|vouch(?:es|ed)?)(?![A-Za-z])".replace(" ", GAP),
    re.IGNORECASE,
)
NAMES = frozenset({"one", "found", "known", "ours", "mine", "asked", "told"})
"""Names that do not say what they name; refused wherever Python binds them."""
PARTICIPLE = re.compile(
    r"_?([a-z]+[^e]ed|begun|broken|brought|caught|chosen|done|drawn|forgotten|given|gone|heard|held|hidden|kept|left"
    r"|lost|made|meant|met|paid|said|seen|sent|shown|spent|taken|thrown|unseen|won|written)"
)
PUBLIC_PARTICIPLES = frozenset({"tuned", "shared"})
"""Names of the public interface. Another function of the package is a verb, a noun or a question."""
EXCEPTIONS = {"scripts/check_prose.py": "the list itself", "tests/test_prose.py": "samples of offences"}
"""Files that are not checked, each with its reason."""


def files(paths: list[Path]) -> Iterator[Path]:
    """Yield the texts among files and folders."""
    for path in paths:
        inner = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in inner:
            name = file.relative_to(ROOT).as_posix()
            if file.is_file() and file.suffix in SUFFIXES and name not in EXCEPTIONS and "__pycache__" not in name:
                yield file


def offences(name: str, text: str) -> Iterator[tuple[int, str]]:
    """Yield line number and reason for each offence of a text."""
    for match in WORDS.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, f"the word {re.sub(GAP, ' ', match[0])!r}"
    if name.endswith(".py"):
        for node in ast.walk(ast.parse(text)):
            match node:
                # docstrings of modules, classes and functions, and those behind an attribute
                case ast.Expr(value=ast.Constant(value=str(said))) if opening := OPENING.match(said):
                    yield node.lineno, f"a docstring that begins with {opening[1]}"
                case (
                    ast.Name(id=bound, ctx=ast.Store())
                    | ast.arg(arg=bound)
                    | ast.alias(asname=str(bound))
                    | ast.ExceptHandler(name=str(bound))
                    | ast.MatchAs(name=str(bound))
                    | ast.FunctionDef(name=bound)
                ) if bound in NAMES:
                    yield node.lineno, f"the name {bound!r}"
                case ast.FunctionDef(name=bound) if (
                    name.startswith("src/") and PARTICIPLE.fullmatch(bound) and bound not in PUBLIC_PARTICIPLES
                ):
                    yield node.lineno, f"the function {bound!r}, a bare participle"


def main(words: list[str]) -> int:
    """Print all offences."""
    paths = [Path(word).resolve() for word in words] or [ROOT / part for part in PARTS]
    count = 0
    for path in files([path for path in paths if path.exists()]):
        name = path.relative_to(ROOT).as_posix()
        for number, reason in offences(name, path.read_text("utf-8")):
            print(f"{name}:{number}: {reason}")
            count += 1
    return int(count > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
