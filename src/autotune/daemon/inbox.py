"""What programs left in the spool, taken into the memory: calls that nothing covers, calls that something does, and
entries that a live guard dropped.
"""

from autotune.daemon import spool
from autotune.daemon.book import Book

MOST_SAID = 3
"""Refused files that one visit says; of the rest only the number, since anybody may leave them."""
MOST_DOUBTS = 200
"""Entries in doubt beyond which programs cannot bring more into doubt."""


class Inbox:
    """Emptied every now and then."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._done: set[str] = set()

    def empty(self) -> None:
        """Take in what is there."""
        book, memory = self._book, self._book.memory
        found = spool.take(book.places.spool, shared=book.places.shared, done=self._done)
        for why in found.refused[:MOST_SAID]:
            book.log.say("spool", why, level="warning")
        if len(found.refused) > MOST_SAID:
            more = f"{len(found.refused) - MOST_SAID} more files were refused."
            book.log.say("spool", more, level="warning")
        for rows, calls in ((memory.demand, found.calls), (memory.used, found.used)):
            for asked, count in calls.items():
                rows.setdefault(str(asked), [asked.name, asked.dtype, asked.size, 0])[3] += count
        memory.trim()
        for asked, why in found.dropped.items():
            if len(memory.doubts) < MOST_DOUBTS:
                memory.doubts[str(asked)] = [asked.name, asked.dtype, asked.size, why]
        if found.calls or found.used or found.dropped:
            book.news = True
