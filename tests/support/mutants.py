"""Mutants: a file or message with some bytes taken away, and others put there.

AUTOTUNE_MUTANTS=10000 asks for more of each kind than every run of the suite can afford.
"""

import os
import random
from collections.abc import Iterator

MUTANTS = int(os.environ.get("AUTOTUNE_MUTANTS", "150"))

WORDS = """
&a |*a|!!python/object:os.system |<<: |? |- |[|{|]|}|'|"|>\\n|\\0|\\t|\\r\\n|\\ufeff|\\x1b[2J|\\ud7ff|---\\n|...\\n
%YAML 9.9\\n|#|: |,|\\\\|-1|0|1e999|-0.0|.nan|.inf|NaN|-Infinity|0x10|1_000|true|null|~|2.5|2|{}|[]|""|schema: 2\\n
tuned|noisy|failed|blas_threads: 99999|workers|n: 7|"n": 7|../../etc|float32|log|qr|"svd"|"stop"|"tune"|"pause"
limit: quota|usable_cpus: 1|placement: nowhere|chunk: 0|"format": 1|"format": 2|"sizes": {}|"calls": -5|{"verb":
"""
PARTS = [
    *(part.encode().decode("unicode_escape").encode() for line in WORDS.split("\n")[1:-1] for part in line.split("|")),
    *(b"9" * 30, b"1" * 5000, b"x" * 600, b"[" * 40, b"[" * 3000, b'{"a":' * 2000, b"\xff\xfe", b""),
]


def mutants(data: bytes, count: int | None = None, seed: int = 7) -> Iterator[bytes]:
    """Yield `count` mutants of some bytes, each with one to four changes."""
    chance = random.Random(seed)
    for _ in range(MUTANTS if count is None else count):
        mutant = data
        for _ in range(chance.randint(1, 4)):
            place = chance.randint(0, len(mutant))
            gone = chance.choice([0, 0, 1, 2, 5, 40, 400])
            put = chance.choice([chance.choice(PARTS), chance.randbytes(chance.randint(1, 8)), b""])
            mutant = mutant[:place] + put + mutant[place + gone :]
        yield mutant
