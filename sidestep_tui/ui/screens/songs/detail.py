"""The song under the bar in full: every field with its origin, what is pending, what was measured. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from rich.cells import cell_len, chop_cells, set_cell_size

from sidestep_tui.core import text
from sidestep_tui.dataset.manifest import Song
from sidestep_tui.dataset.measuring.measure import compare_bpm, compare_key
from sidestep_tui.ui.screens.songs.facts import LABELS, SongFacts, states
from sidestep_tui.ui.theme import Glyphs
from sidestep_tui.ui.widgets.rows import Row, Span, fit, row, spread, width_of

_SHORT: Final = ("bpm", "keyscale", "timesignature", "language", "genre", "tag", "instrumental", "repeats")
_LABEL: Final = 13
_TWO_COLUMNS: Final = 76
_CAPTION_ROWS: Final = 3
_BPM_SAID: Final = {
    "same": "  as said",
    "half": "  said is half",
    "double": "  said is double",
    "differs": "  said is other",
    "": "  + takes it",
}
_KEY_SAID: Final = {
    "same": "  as said",
    "relative": "  said is relative",
    "differs": "  said is other",
    "": "  + takes it",
}


def detail_rows(
    facts: SongFacts, before: Mapping[str, str], root: Path, size: tuple[int, int], glyphs: Glyphs
) -> list[Row]:
    """As many rows as there is room for: the facts, the caption, the lyrics.

    `before` maps edited fields to what the files say.
    """
    width, height = size
    song = facts.song
    rows = [_title(facts, width, glyphs), row((_sound(song, root), "muted"))]
    cells = [_field(facts, name, before, glyphs) for name in _SHORT]
    rows += _two_abreast(cells, width) if width >= _TWO_COLUMNS else cells
    rows += _heard(facts, width)
    left = height - len(rows)
    caption = _block(facts, "caption", song.caption or glyphs.dash, width)
    most = len(caption) if width < _TWO_COLUMNS else _CAPTION_ROWS + 1
    rows += caption[: min(most, max(left - 1, 1))]
    lyrics = song.lyrics if song.lyrics.strip() else glyphs.dash
    rows += _block(facts, "lyrics", lyrics, width)
    return [fit(line, width) for line in rows[:height]]


def _title(facts: SongFacts, width: int, glyphs: Glyphs) -> Row:
    notes: list[Span] = []
    if facts.edited:
        notes.append((f"  {glyphs.changed} edited, not written", "warn"))
    if facts.reviewed:
        notes.append((f"  {glyphs.ok} reviewed", "good"))
    room = width - width_of(tuple(notes)) - 1
    return row(" ", *fit(row((facts.song.name, "strong")), room - 1), *notes)


def _sound(song: Song, root: Path) -> str:
    try:
        place = song.audio.relative_to(root).as_posix()
    except ValueError:
        place = str(song.audio)
    channels = {1: "mono", 2: "stereo"}.get(song.channels, f"{song.channels} channels")
    facts = [
        text.duration(song.duration),
        f"{song.sample_rate / 1000:g} kHz",
        channels,
        text.file_size(song.size),
        place,
    ]
    return " " + "  ".join(facts)


def _field(facts: SongFacts, name: str, before: Mapping[str, str], glyphs: Glyphs) -> Row:
    """`BPM  124  from ember.json`; an edited one says what it was."""
    song = facts.song
    value = value_of(song, name)
    edited = name in facts.edited
    style = "warn" if edited else "" if value else "warn" if name in ("bpm", "keyscale") else "muted"
    mark = glyphs.changed if edited else " "
    spans: list[Span] = [
        (f"{mark}", "warn"),
        (f"{LABELS[name]:<{_LABEL}}", "muted"),
        (value or glyphs.dash, style),
    ]
    if edited:
        spans.append((f"  was {before.get(name) or 'not set'}", "muted"))
    elif origin := song.origins.get(name):
        spans.append((f"  {came_from(origin)}", "muted"))
    return row(*spans)


def _two_abreast(cells: list[Row], width: int) -> list[Row]:
    half = width // 2
    rows = []
    for left, right in zip(cells[::2], cells[1::2], strict=True):
        shown = fit(left, half - 1)
        rows.append((*shown, (" " * (half - width_of(shown)), ""), *fit(right, width - half)))
    return rows


def _heard(facts: SongFacts, width: int) -> list[Row]:
    """What was heard, how sure that is, and how it relates to what is said."""
    measured, song = facts.measured, facts.song
    if measured is None:
        return []
    label = (f" {'heard':<{_LABEL}}", "muted")
    lines = []
    if measured.bpm is not None:
        other = f", or {measured.bpm_other}" if measured.bpm_other and width >= _TWO_COLUMNS else ""
        words = f"{measured.bpm} BPM, {measured.bpm_confidence:.0%} sure{other}"
        lines.append(row(label, (words, "accent"), (_BPM_SAID[compare_bpm(song.bpm, measured.bpm)], "muted")))
    if measured.key:
        words = f"{measured.key}, {measured.key_confidence:.0%} sure"
        lines.append(row(label, (words, "accent"), (_KEY_SAID[compare_key(song.keyscale, measured.key)], "muted")))
    return lines + ([row(label, (measured.note, "muted"))] if measured.note else [])


def _block(facts: SongFacts, name: str, words: str, width: int) -> list[Row]:
    """A label, where the text comes from, and the text, wrapped: beside the label, or below it in a narrow pane."""
    song = facts.song
    edited = name in facts.edited
    origin = "edited, not written" if edited else came_from(song.origins.get(name, ""))
    note = row((f"  {origin} " if origin else "", "warn" if edited else "muted"))
    style = "" if states(song, name) else "warn"
    label = row((f" {LABELS[name]:<{_LABEL}}", "muted"))
    indent = _LABEL + 1 if width >= _TWO_COLUMNS else 1
    lines = [row(" " * indent, (line, style)) for line in wrap(words, max(width - indent - 1, 10))]
    if width < _TWO_COLUMNS:
        return [(), spread(label, note, width), *lines]
    first = (*label, *lines[0][1:])
    if width_of(first) + width_of(note) <= width:
        return [spread(first, note, width), *lines[1:]]
    return [spread(label, note, width), *lines]


def value_of(song: Song, name: str) -> str:
    """A field as text; empty when it is not set."""
    if name == "bpm":
        return "" if song.bpm is None else str(song.bpm)
    if name == "instrumental":
        return "yes" if song.instrumental else "no"
    if name == "repeats":
        return str(song.repeats)
    if name == "language":
        return "" if song.language == "unknown" else song.language
    texts = {
        "caption": song.caption,
        "lyrics": song.lyrics,
        "keyscale": song.keyscale,
        "timesignature": song.timesignature,
        "genre": song.genre,
        "tag": song.tag,
    }
    return texts[name]


def came_from(origin: str) -> str:
    """An origin as the end of a sentence: `from ember.json`, `from the file name`."""
    return {
        "": "",
        "file name": "from the file name",
        "setting": "from the settings",
        "no lyrics found": "assumed: no lyrics found",
    }.get(origin, f"from {origin}")


def wrap(words: str, width: int) -> list[str]:
    """Lines of at most `width` cells, broken between words where that is possible."""
    lines: list[str] = []
    for paragraph in words.split("\n"):
        line = ""
        for word in paragraph.split(" "):
            candidate = f"{line} {word}" if line else word
            if cell_len(candidate) <= width:
                line = candidate
                continue
            if line:
                lines.append(line)
            *whole, line = chop_cells(word, width) or [""]
            lines += whole
        lines.append(line)
    return [set_cell_size(line, width).rstrip() for line in lines]
