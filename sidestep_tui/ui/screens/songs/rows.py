"""The table of songs as rows of aligned columns, as many as the width has room for. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len, set_cell_size

from sidestep_tui.core import text
from sidestep_tui.dataset import values
from sidestep_tui.dataset.manifest import Song
from sidestep_tui.dataset.measuring.measure import compare_bpm, compare_key
from sidestep_tui.ui.screens.songs.facts import (
    SongFacts,
    clock,
    is_assumed_instrumental,
    is_sung,
    lyric_lines,
    states,
)
from sidestep_tui.ui.theme import Glyphs
from sidestep_tui.ui.widgets.rows import Row, Span, fit, row, width_of

_MARKS: Final = 5
_MIN_NAME, _MAX_NAME = 14, 34
_MIN_CAPTION: Final = 20
_NARROW: Final = 76
SURE: Final = 0.5
"""Measurements below this confidence carry a question mark."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name in `songs_list.SORTS`, its title and its cells."""

    sort: str
    title: str
    width: int
    cell: Callable[[SongFacts, Glyphs], Span]
    right: bool = False


def _length(facts: SongFacts, glyphs: Glyphs) -> Span:
    return clock(facts.song.duration), ""


def _bpm(facts: SongFacts, glyphs: Glyphs) -> Span:
    return (str(facts.song.bpm), "") if facts.song.bpm is not None else (glyphs.dash, "warn")


def _key(facts: SongFacts, glyphs: Glyphs) -> Span:
    return (facts.song.keyscale, "") if facts.song.keyscale else (glyphs.dash, "warn")


def _lyrics(facts: SongFacts, glyphs: Glyphs) -> Span:
    song = facts.song
    if is_assumed_instrumental(song):
        return "instr.?", "warn"
    if song.instrumental:
        return "instr.", "muted"
    return (text.plural(lyric_lines(song), "line"), "") if is_sung(song) else (glyphs.dash, "warn")


def _signature(facts: SongFacts, glyphs: Glyphs) -> Span:
    return (facts.song.timesignature, "") if facts.song.timesignature else (glyphs.dash, "muted")


def _language(facts: SongFacts, glyphs: Glyphs) -> Span:
    song = facts.song
    if song.language != values.UNKNOWN_LANGUAGE:
        return song.language, ""
    return glyphs.dash, "warn" if is_sung(song) else "muted"


def _genre(facts: SongFacts, glyphs: Glyphs) -> Span:
    return (facts.song.genre, "") if facts.song.genre else (glyphs.dash, "muted")


def _tag(facts: SongFacts, glyphs: Glyphs) -> Span:
    return (facts.song.tag, "") if facts.song.tag else (glyphs.dash, "muted")


def _caption(facts: SongFacts, glyphs: Glyphs) -> Span:
    if states(facts.song, "caption"):
        return facts.song.caption, ""
    return f"{glyphs.dash} file name: {facts.song.caption}", "warn"


def _measured_bpm(facts: SongFacts, glyphs: Glyphs) -> Span:
    measured = facts.measured
    if measured is None or measured.bpm is None:
        return "", "muted"
    return _doubted(
        str(measured.bpm), measured.bpm_confidence, same=compare_bpm(facts.song.bpm, measured.bpm) == "same"
    )


def _measured_key(facts: SongFacts, glyphs: Glyphs) -> Span:
    measured = facts.measured
    if measured is None or not measured.key:
        return "", "muted"
    return _doubted(
        measured.key, measured.key_confidence, same=compare_key(facts.song.keyscale, measured.key) == "same"
    )


def _doubted(words: str, confidence: float, *, same: bool) -> Span:
    """A measured value: quiet where it agrees, with a question mark where it is a guess."""
    return f"{words}{'' if confidence >= SURE else '?'}", "muted" if same else "accent"


_BASE: Final = (
    Column("length", "length", 7, _length, right=True),
    Column("bpm", "BPM", 4, _bpm, right=True),
    Column("key", "key", 8, _key),
    Column("lyrics", "lyrics", 9, _lyrics),
)
_MEASURED: Final = (
    Column("bpm", "heard", 5, _measured_bpm, right=True),
    Column("key", "heard", 9, _measured_key),
)
_MORE: Final = (
    Column("language", "lang", 4, _language),
    Column("genre", "genre", 12, _genre),
    Column("tag", "tag", 10, _tag),
    Column("signature", "sig", 3, _signature, right=True),
)


@dataclass(frozen=True, slots=True)
class Columns:
    """How a width is shared out."""

    name: int
    fixed: tuple[Column, ...]
    caption: int

    @classmethod
    def of_width(cls, width: int, *, measured: bool = False) -> Columns:
        """Columns are added, the most telling first, as long as names and captions keep some room."""
        fixed = list(_BASE)
        if measured:
            fixed[2:3] = [_MEASURED[0], _BASE[2], _MEASURED[1]]
            if width < _NARROW:
                fixed = fixed[1:-1]
        left = width - _MARKS - sum(column.width + 1 for column in fixed) - 1
        for column in _MORE:
            if left - column.width - 1 >= _MIN_NAME + 2 * _MIN_CAPTION:
                fixed.append(column)
                left -= column.width + 1
        name = max(_MIN_NAME, min(_MAX_NAME, left * 2 // 5))
        return cls(name, tuple(fixed), max(left - name, 0))


def title_row(columns: Columns, width: int, *, sort: str, falling: bool, ascii_only: bool = False) -> Row:
    """The names of the columns; an arrow stands at the one that the table is sorted by."""
    arrow = ("v" if falling else "^") if ascii_only else ("▾" if falling else "▴")

    def title(name: str, words: str, size: int, *, right: bool = False, heard: bool = False) -> str:
        shown = f"{words}{arrow}" if name == sort and not heard else words
        return _cell(shown, size, right=right)

    parts = [" " * _MARKS, title("name", "name", columns.name)]
    for column in columns.fixed:
        heard = column in _MEASURED
        parts.append(" " + title(column.sort, column.title, column.width, right=column.right, heard=heard))
    if columns.caption:
        parts.append(" " + title("caption", "caption", columns.caption))
    return fit(row(("".join(parts), "muted")), width)


def song_row(facts: SongFacts, columns: Columns, width: int, glyphs: Glyphs, *, selected: bool) -> Row:
    """One song; the one under the bar has a pointer and fills the width with its background."""
    spans: list[Span] = [*_marks(facts, glyphs, selected=selected)]
    spans.append((_cell(facts.song.name, columns.name, keep_end=True), "strong"))
    for column in columns.fixed:
        words, style = column.cell(facts, glyphs)
        spans.append((" " + _cell(words, column.width, right=column.right), style))
    if columns.caption:
        words, style = _caption(facts, glyphs)
        spans.append((" " + _cell(words, columns.caption), style))
    shown = fit(row(*spans), width)
    if not selected:
        return shown
    rest = width - width_of(shown)
    return (*((part, "selected") for part, _ in shown), (" " * rest, "selected"))


def _marks(facts: SongFacts, glyphs: Glyphs, *, selected: bool) -> list[Span]:
    """The bar, then three signs, each with a place of its own: marked, edited, reviewed."""
    pointer = "|" if glyphs.focus == ">" else "▎"
    return [
        (pointer if selected else " ", "accent"),
        (glyphs.focus if facts.marked else " ", "accent"),
        (glyphs.changed if facts.edited else " ", "warn"),
        (glyphs.ok if facts.reviewed else " ", "good"),
        (" ", ""),
    ]


def _cell(words: str, size: int, *, right: bool = False, keep_end: bool = False) -> str:
    """Words cut or padded to a number of cells; of a name, the end tells more than its folder."""
    width = cell_len(words)
    if width <= size:
        return " " * (size - width) + words if right else words + " " * (size - width)
    if not keep_end:
        return set_cell_size(words, max(size - 1, 0)) + "…"
    tail = words
    while cell_len(tail) > size - 1:
        tail = tail[1:]
    return set_cell_size("…" + tail, size)


def empty_rows(*, searched: bool) -> list[Row]:
    """What to do when nothing is listed."""
    if searched:
        return [row(""), row("  Nothing matches the filter. ", ("esc", "accent"), " clears it.")]
    return [row(""), row(("  No songs are shown. ", "muted"), ("r", "accent"), (" looks again.", "muted"))]


def counts(songs: Sequence[Song]) -> list[str]:
    """How much there is and how much is missing, the most telling first: `13 songs`, `3 without caption`."""
    parts = [text.plural(len(songs), "song")]
    for name, label in (("caption", "caption"), ("bpm", "BPM"), ("keyscale", "key")):
        if lacking := sum(not states(song, name) for song in songs):
            parts.append(f"{lacking} without {label}")
    return [*parts, text.duration(sum(song.duration for song in songs))]


def summary(parts: Sequence[str], room: int) -> str:
    """As many of the counts as there is room for; the first always."""
    shown = parts[0] if parts else ""
    for part in parts[1:]:
        if len(shown) + 2 + len(part) > room:
            break
        shown = f"{shown}, {part}"
    return shown
