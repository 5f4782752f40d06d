"""Texts of files in the spool, as programs leave them."""

import json

from autotune.model.codec import encode
from autotune.model.operation import Operation
from autotune.model.spool_document import FORMAT, LostPairs, SpoolDocument


def spool_text(
    calls: dict[Operation, int] | None = None,
    used: dict[Operation, int] | None = None,
    lost: dict[Operation, int] | None = None,
) -> str:
    """Return the text for these counts; `lost` are pairs that entries lost, of as many."""
    dropped = {operation: LostPairs(pairs=pairs, lost=pairs) for operation, pairs in (lost or {}).items()}
    return json.dumps(encode(SpoolDocument(format=FORMAT, calls=calls or {}, used=used or {}, dropped=dropped)))
