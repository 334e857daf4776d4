"""What can be said about a curve from its own values alone: a trend, its noise, a value far off. Pure Python."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections import Counter, deque
from collections.abc import Sequence
from statistics import fmean, linear_regression, median
from typing import Any


def mann_kendall(values: Sequence[float]) -> float:
    """Z of the rank test for a trend, negative for a fall; 0 where nothing can be said.

    With S the number of pairs that rise less those that fall, and ties in groups of t values,
    Var S = (n(n−1)(2n+5) − Σ t(t−1)(2t+5)) / 18 and Z = (S ∓ 1) / √Var S, nearly normal from eight values on
    (Mann 1945, "Nonparametric tests against trend"; Kendall 1975, "Rank correlation methods").
    """
    seen: list[float] = []
    score = 0
    for value in values:
        score += bisect_left(seen, value) - (len(seen) - bisect_right(seen, value))
        insort(seen, value)
    variance = _term(len(seen)) - sum(_term(count) for count in Counter(seen).values())
    if score == 0 or variance <= 0:
        return 0.0
    return (score - math.copysign(1.0, score)) / math.sqrt(variance / 18.0)


def _term(count: int) -> int:
    return count * (count - 1) * (2 * count + 5)


def noise(values: Sequence[float]) -> float:
    """Standard deviation of what is no trend: with e = (y₋ + y₊)/2 − y over all inner values, √(2/3 · mean e²).

    Curves that are straight over three values cancel (Gasser, Sroka and Jennen-Steinmetz 1986, "Residual variance and
    residual pattern in nonlinear regression"). NaN for fewer than three values.
    """
    inner = range(1, len(values) - 1)
    if not inner:
        return math.nan
    return math.sqrt(2.0 / 3.0 * fmean(((values[i - 1] + values[i + 1]) / 2.0 - values[i]) ** 2 for i in inner))


def scatter(values: Sequence[float]) -> float:
    """Standard deviation around the straight line of least squares; NaN for fewer than three values.

    More than `noise` where a curve wanders: then neighbours are alike, and the rank test takes wandering for a trend.
    """
    if len(values) < 3:
        return math.nan
    slope, start = linear_regression(range(len(values)), values)
    squares = math.fsum((value - start - slope * place) ** 2 for place, value in enumerate(values))
    return math.sqrt(squares / (len(values) - 2))


class Jumps:
    """Tells values far above what the last ones were, by the median and the median absolute deviation of logarithms.

    Logarithms, because losses and gradient norms vary by factors. 1.4826 · MAD is the standard deviation of normal
    values (Rousseeuw and Croux 1993, "Alternatives to the median absolute deviation").
    """

    WINDOW = 128
    """Values remembered."""
    ENOUGH = 48
    """Values from which on something can be said."""
    FAR = 6.0
    """Standard deviations; normal values come so far once in 10⁹."""
    NARROWEST = 0.1
    """Spread that even the quietest curve is given, so that nothing below 1.8 times the median is a jump."""

    def __init__(self) -> None:
        self._logs: deque[float] = deque(maxlen=self.WINDOW)

    def add(self, value: float) -> tuple[float, float] | None:
        """Take a value; returns the median and the highest usual value when this one is far above."""
        if not (math.isfinite(value) and value > 0.0):
            return None
        log = math.log(value)
        usual = self._usual()
        self._logs.append(log)
        if usual is None or log <= usual[1]:
            return None
        return math.exp(usual[0]), math.exp(usual[1])

    def _usual(self) -> tuple[float, float] | None:
        if len(self._logs) < self.ENOUGH:
            return None
        middle = median(self._logs)
        spread = 1.4826 * median(abs(log - middle) for log in self._logs)
        return middle, middle + self.FAR * max(spread, self.NARROWEST)

    def state(self) -> list[float]:
        """What `restore` continues from."""
        return list(self._logs)

    def restore(self, state: Sequence[Any]) -> None:
        """Continue from what `state` returned."""
        self._logs = deque((float(log) for log in state), maxlen=self.WINDOW)


class History:
    """A curve from its beginning in bounded memory: once it is full, neighbours are averaged and blocks grow longer."""

    MOST = 400

    def __init__(self) -> None:
        self.means: list[float] = []
        """Mean of each whole block, oldest first."""
        self.block = 1
        """Values in a block."""
        self._open: list[float] = []

    @property
    def count(self) -> int:
        """Values taken so far."""
        return len(self.means) * self.block + len(self._open)

    def add(self, value: float) -> bool:
        """Take a value; true if that completed a block."""
        self._open.append(value)
        if len(self._open) < self.block:
            return False
        self.means.append(fmean(self._open))
        self._open = []
        if len(self.means) == self.MOST:
            self.means = [fmean(self.means[place : place + 2]) for place in range(0, self.MOST, 2)]
            self.block *= 2
        return True

    def state(self) -> dict[str, Any]:
        """What `restore` continues from."""
        return {"means": list(self.means), "block": self.block, "open": list(self._open)}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self.means = [float(mean) for mean in state["means"]]
        self.block = int(state["block"])
        self._open = [float(value) for value in state["open"]]
