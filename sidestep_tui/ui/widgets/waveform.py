"""A song's outline with its cuts: zoomed and scrolled without reading the sound again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sidestep_tui.dataset.cutting.waveform import Peaks
from sidestep_tui.ui.widgets import envelope
from sidestep_tui.ui.widgets.envelope import Piece, Window
from sidestep_tui.ui.widgets.rows import Row, Rows, row

ZOOMS: Final = (1, 4, 16)
_LINES_BELOW: Final = 3


class Waveform(Rows):
    """The outline, the brackets of the slices, and a ruler; what has no room is left out from the bottom."""

    def __init__(self, *, id: str | None = None, ascii_only: bool = False) -> None:
        super().__init__(id=id)
        self._ascii_only = ascii_only
        self._peaks: Peaks | None = None
        self._pieces: Sequence[Piece] | None = None
        self._words: Row = ()
        self.zoom = 1
        """How many times the song is wider than the screen."""
        self.first = 0.0
        """The moment at the left edge, in seconds."""

    def show(self, peaks: Peaks | None, pieces: Sequence[Piece] | None, words: Row = ()) -> None:
        """Draw a song, with its slices if they are known; without an outline, say why not."""
        if peaks is not self._peaks:
            self.zoom, self.first = 1, 0.0
        self._peaks, self._pieces, self._words = peaks, pieces, words
        self.repaint()

    @property
    def window(self) -> Window:
        """What is in view."""
        seconds = self._peaks.seconds if self._peaks else 0.0
        return Window(self.first, self.first + seconds / self.zoom, max(self.size.width, 1))

    def repaint(self) -> None:
        """Hand over the rows for the present size."""
        height, peaks = self.size.height, self._peaks
        if height <= 0 or self.size.width <= 0:
            return
        if peaks is None:
            self.put([row(""), self._words] if height > 1 else [self._words])
            return
        window, plain = self.window, self._ascii_only
        below = [
            *envelope.brackets(self._pieces, peaks.seconds, window, ascii_only=plain),
            envelope.ruler(window),
        ]
        tall = max(height - _LINES_BELOW, min(height, 2))
        drawn = envelope.outline(peaks.low, peaks.high, peaks.seconds, self._pieces, window, tall, ascii_only=plain)
        self.put([tuple(spans) for spans in [*drawn, *below][:height]])

    def step_zoom(self) -> None:
        """The next zoom, around the middle of what is in view; after the last the whole song."""
        if self._peaks is None:
            return
        middle = (self.window.first + self.window.last) / 2
        self.zoom = ZOOMS[(ZOOMS.index(self.zoom) + 1) % len(ZOOMS)]
        self._look_at(middle)

    def scroll_by(self, windows: float) -> None:
        """Move the view by a share of its width."""
        self._look_at((self.window.first + self.window.last) / 2 + windows * (self.window.last - self.window.first))

    def go_to_cut(self, step: int) -> None:
        """Put the next or previous cut in the middle."""
        middle = (self.window.first + self.window.last) / 2
        starts = [piece.start for piece in self._pieces or () if piece.start > 0]
        # Half a cell: a cut that is in the middle is not the next one.
        near = (self.window.last - self.window.first) / self.window.width / 2
        beyond = [start for start in starts if (start - middle) * step > near]
        if beyond:
            self._look_at(min(beyond) if step > 0 else max(beyond))

    def _look_at(self, middle: float) -> None:
        if self._peaks is None:
            return
        span = self._peaks.seconds / self.zoom
        self.first = min(max(middle - span / 2, 0.0), self._peaks.seconds - span)
        self.repaint()

    def on_resize(self) -> None:
        """Draw for the new size."""
        self.repaint()
