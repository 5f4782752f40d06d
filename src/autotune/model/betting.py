"""Sequential sign test by betting. Pure, and light: programs run it between their calls.

A pair is won if the first of two timings is the shorter one. A player who stakes the share s of a capital on "won" at
even odds multiplies it by 1 + s or 1 - s. If winning is no likelier than losing, whatever came before, the capital is a
supermartingale: by Ville's inequality (1939) it ever reaches 1 / error times its start with probability `error` at
most, so that it may be looked at after every pair. The capital is spread evenly over three shares. The median is
tested, so no outlier decides.
"""

_SHARES = (0.25, 0.5, 0.75)


class SignTest:
    """Capital of a bet that the pairs of a sequence are won more often than lost."""

    __slots__ = ("_capital", "pairs", "won")

    def __init__(self) -> None:
        self._capital = [1.0] * len(_SHARES)
        self.pairs = 0
        self.won = 0

    def add(self, difference: float) -> None:
        """Take in a pair: won if `difference` is negative, lost if positive. A tie is neither."""
        self.pairs += 1
        if difference:
            sign = 1 if difference < 0 else -1
            self.won += difference < 0
            # a Kelly bet: each part is multiplied by 1 + s after a win and 1 - s after a loss
            self._capital = [
                capital * (1 + sign * share) for capital, share in zip(self._capital, _SHARES, strict=True)
            ]

    def is_proved(self, error: float) -> bool:
        """Return whether winning is proved likelier than losing, with this probability of error over all looks."""
        # Ville's inequality for the mean of the parts, which start at 1
        return sum(self._capital) >= len(_SHARES) / error


def median_interval(count: int, tail: float = 0.025) -> tuple[int, int] | None:
    """Return the places, in ascending order, of the ends of an interval of the median of `count` values.

    The median lies beyond each end with a probability of at most `tail`; by default it is the 95 % interval. The
    binomial interval (Conover, Practical Nonparametric Statistics, 3.2); None for so few values, below six by default,
    that no two have the median between them that often.
    """
    below, term = 0.0, 0.5**count
    for place in range(count // 2):
        below += term  # probability of at most `place` values below the median
        if below > tail:
            return (place - 1, count - place) if place else None
        # next binomial probability: C(n, k + 1) = C(n, k) (n - k) / (k + 1)
        term *= (count - place) / (place + 1)
    return None
