"""The table of songs by how hard they are: worst first, with a filter and a word on those that stand out."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from textual import events

from sidestep_tui.core import text
from sidestep_tui.protocol.songs import SongLoss, SongLosses, matching
from sidestep_tui.ui.widgets import braille
from sidestep_tui.ui.widgets.rows import Row, Rows, row

_TREND = {"": " ", "falling": "↓", "steady": "→", "rising": "↑"}
_TREND_ASCII = {"": " ", "falling": "v", "steady": "=", "rising": "^"}
_SPARK = 12


def header_row(width: int) -> Row:
    """The names of the columns."""
    name, trend = _columns(width)
    return row((f"  {'song':<{name}} {'× usual':>7} {'lately' if trend else '':<{trend}}  {'n':>4}", "muted"))


def song_row(song: SongLoss, width: int, *, selected: bool, ascii_only: bool) -> Row:
    """One song: name, its loss against what is usual, its newest measurements, which way it goes, how many."""
    name, trend = _columns(width)
    shown = song.name if len(song.name) <= name else song.name[: name - 1] + ("~" if ascii_only else "…")
    # The two values in front keep small changes small: the scale holds 30 % to both sides at least.
    spark = braille.spark([0.7, 1.3, *song.ratios[-trend:]], ascii_only=ascii_only)[2:] if trend else ""
    arrow = (_TREND_ASCII if ascii_only else _TREND)[song.trend]
    mark = "!" if song.hint else "h" if song.held_out else " "
    style = "warn" if song.hint else ""
    cells = row(
        (f"{mark} ", style or "muted"), (f"{shown:<{name}}", style), f" {song.ratio:7.3f} ",
        (f"{spark:<{trend}}", "fill"), f" {arrow}{song.count:>4,}",
    )  # fmt: skip
    return tuple((part, "selected") for part, _ in cells) if selected else cells


def detail_height(width: int) -> int:
    """Rows below the table for what is known of the selected song."""
    return 2 if width >= 70 else 3


def detail_rows(song: SongLoss | None, width: int, *, total: int) -> list[Row]:
    """What is known of the selected song."""
    height = detail_height(width)
    if song is None:
        return [row((_empty(total), "muted")), *[()] * (height - 1)]
    what = f"{song.name}: {_against(song)}"
    if song.hint:
        what += f"; {song.hint}"
    lines = textwrap.wrap(what, max(width, 10))[:height]
    return [row((line, "warn" if song.hint else "muted")) for line in lines] + [()] * (height - len(lines))


def _against(song: SongLoss) -> str:
    apart = 100 * (song.ratio - 1)
    told = "as hard as usual" if abs(apart) < 1 else f"{abs(apart):.0f} % {'harder' if apart > 0 else 'easier'}"
    if song.held_out:
        loss = f"loss {text.number(song.loss)}, " if song.loss is not None else ""
        return f"held out, {loss}{told} than the others' mean" if abs(apart) >= 1 else f"held out, {loss}{told}"
    return f"{told} than all songs at the same noise levels" if abs(apart) >= 1 else told


def _empty(total: int) -> str:
    return "no song holds these words" if total else "the first numbers come at the end of an epoch"


def _columns(width: int) -> tuple[int, int]:
    """Cells for the name and for the newest measurements."""
    trend = _SPARK if width >= 44 else 0
    return max(width - 2 - 8 - 1 - trend - 6, 8), trend


class SongsPanel(Rows, can_focus=True):
    """Scrolls with its selection; the table is made anew only when an epoch has ended."""

    HELP = """
    # Songs

    Which songs are hard to learn. Each number is the song's loss against that of all songs at the same noise levels,
    over about ten epochs: 1 is usual, 1.3 is 30 % above. A song that stays far above the others may have a wrong
    caption or lyrics, or broken audio; one far below may be nearly silent, or be there twice. `h` marks held-out
    songs, against their own mean. The arrow says which way a song goes; n counts its measurements.

    `j` and `k` move, `enter` opens the song's words, where they can be edited. `/` finds songs by name, or by what is
    said of them (try "caption"); `esc` shows all again.
    """

    def __init__(self, *, ascii_only: bool = False, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.ascii_only = ascii_only
        self.filter = ""
        self._songs: SongLosses | None = None
        self._all: list[SongLoss] = []
        self._seen: tuple[int, int] = (-1, -1)
        self._at = 0
        self._top = 0

    @property
    def found(self) -> Sequence[SongLoss]:
        """The songs that the filter leaves."""
        return matching(self._all, self.filter)

    @property
    def selected(self) -> SongLoss | None:
        """The song that the selection is on."""
        found = self.found
        return found[min(self._at, len(found) - 1)] if found else None

    def show(self, songs: SongLosses) -> None:
        """Show the songs as they are now; the selection stays on its song. Nothing is made while nobody sees it."""
        self._songs = songs
        if not self.size.width or self._seen == (id(songs), songs.version):
            return
        self._seen = (id(songs), songs.version)
        name = self.selected.name if self.selected is not None and self._at else ""
        self._all = songs.table()
        self._at = next((place for place, song in enumerate(self.found) if song.name == name), 0)
        self.repaint()

    def set_filter(self, wanted: str) -> None:
        """Show only songs whose name or hint holds `wanted`."""
        self.filter = wanted.strip()
        self._at = self._top = 0
        self.repaint()

    def move(self, lines: int) -> None:
        """Move the selection."""
        self._at = min(max(self._at + lines, 0), max(len(self.found) - 1, 0))
        self.repaint()

    def repaint(self) -> None:
        """Hand over the visible rows."""
        width, height = self.size.width, self.size.height
        details = detail_height(width) if height >= 7 else 0
        room = height - 1 - details
        if width < 20 or room < 1:
            return
        found = self.found
        self._at = min(self._at, max(len(found) - 1, 0))
        self._top = min(max(self._top, self._at - room + 1), self._at, max(len(found) - room, 0))
        active = self.has_focus
        rows = [header_row(width)]
        for place, song in enumerate(found[self._top : self._top + room], self._top):
            chosen = active and place == self._at
            rows.append(song_row(song, width, selected=chosen, ascii_only=self.ascii_only))
        rows += [()] * (1 + room - len(rows))
        if details:
            rows += detail_rows(self.selected, width, total=len(self._all))
        self.put(rows)
        title = "songs · worst first"
        if self.filter:
            title += f" · /{self.filter} · {len(found)} of {len(self._all)}"
        if self.border_title != title:
            self.border_title = title

    def on_focus(self, event: events.Focus) -> None:
        """Show the selection."""
        self.repaint()

    def on_blur(self, event: events.Blur) -> None:
        """Hide the selection."""
        self.repaint()

    def on_resize(self, event: events.Resize) -> None:
        """Show as many songs as fit."""
        if self._songs is not None:
            self.show(self._songs)
        self.repaint()
