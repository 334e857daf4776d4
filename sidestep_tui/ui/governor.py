"""When to paint: often enough to feel live, rarely enough that a slow link keeps its keyboard.

Pure: every method takes the time as an argument. A link is slow when it has not yet taken the picture before this one,
or, where the display blocks until it has, when a tick comes late. The answer is to paint less.
"""

from __future__ import annotations

RATES_HZ = (0.25, 0.5, 1.0, 2.0, 4.0)
"""What `+` and `-` step through."""

_LATE = 0.25
_LATE_TICKS = 2
_CALM_SECONDS = 20.0
_SLOWEST = 4.0
_BLURRED = 2.0
_NEVER = float("inf")


class Governor:
    """Decides when the next paint is due and slows down while the terminal lags behind."""

    def __init__(self, *, rate_hz: float = 2.0) -> None:
        self._rate_hz = rate_hz
        self._slowdown = 1.0
        self._late_ticks = 0
        self._calm_since: float | None = None
        self._last_paint = -_NEVER
        self._frozen = False
        self._visible = True
        self._blurred = False
        self._dirty = False
        self.lateness = 0.0

    @classmethod
    def for_environment(cls, *, over_ssh: bool) -> Governor:
        """2 Hz at home, 1 Hz over SSH until the user says otherwise."""
        return cls(rate_hz=1.0 if over_ssh else 2.0)

    @property
    def rate_hz(self) -> float:
        """The rate the user asked for."""
        return self._rate_hz

    @property
    def interval(self) -> float:
        """Seconds between paints as things are now."""
        interval = min(
            max(1.0 / self._rate_hz, 1.0 / RATES_HZ[-1]) * self._slowdown, max(_SLOWEST, 1.0 / self._rate_hz)
        )
        return max(interval, _BLURRED) if self._blurred else interval

    @property
    def slowed(self) -> bool:
        """Whether the link made us paint less than asked for."""
        return self._slowdown > 1.0

    @property
    def frozen(self) -> bool:
        """Whether the user stopped the picture."""
        return self._frozen

    @property
    def dirty(self) -> bool:
        """Whether something changed since the last paint."""
        return self._dirty

    def faster(self) -> float:
        """The next higher rate."""
        return self._step_rate(1)

    def slower(self) -> float:
        """The next lower rate."""
        return self._step_rate(-1)

    def _step_rate(self, direction: int) -> float:
        index = min(range(len(RATES_HZ)), key=lambda i: abs(RATES_HZ[i] - self._rate_hz))
        self._rate_hz = RATES_HZ[min(max(index + direction, 0), len(RATES_HZ) - 1)]
        self._slowdown = 1.0
        self._late_ticks = 0
        return self._rate_hz

    def freeze(self, *, frozen: bool) -> None:
        """Stop or resume painting; data keeps flowing either way."""
        self._frozen = frozen

    def show(self, *, visible: bool) -> None:
        """Say whether the screen is the one on top; a screen that comes back paints once."""
        self._visible = visible
        if visible:
            self._dirty = True
            self._last_paint = -_NEVER

    def blur(self, *, blurred: bool) -> None:
        """Say whether the terminal window lost the focus."""
        self._blurred = blurred

    def changed(self, *, urgent: bool = False) -> None:
        """Note that there is something to paint; an urgent change (phase, error, end) does not wait."""
        self._dirty = True
        if urgent:
            self._last_paint = -_NEVER

    def delay(self, now: float) -> float | None:
        """Seconds until a paint is due; 0 when it is due now; None when there is nothing to paint."""
        if not self._dirty or self._frozen or not self._visible:
            return None
        return max(self._last_paint + self.interval - now, 0.0)

    def painted(self, now: float, *, scheduled: float | None = None, behind: bool = False) -> None:
        """Note a paint; `scheduled` is when its timer should have fired, if a timer made it, and `behind` whether an
        earlier picture was still on its way then."""
        self._dirty = False
        self._last_paint = now
        if scheduled is None:
            return
        self.lateness = max(now - scheduled, 0.0)
        if behind or self.lateness > _LATE:
            self._calm_since = None
            self._late_ticks += 1
            if self._late_ticks >= _LATE_TICKS:
                self._late_ticks = 0
                if self.interval * 2 <= _SLOWEST:
                    self._slowdown *= 2
                elif self.interval < _SLOWEST:
                    self._slowdown *= _SLOWEST / self.interval
            return
        self._late_ticks = 0
        if self._calm_since is None:
            self._calm_since = now
        elif now - self._calm_since >= _CALM_SECONDS and self._slowdown > 1.0:
            self._slowdown = max(self._slowdown / 2, 1.0)
            self._calm_since = now
