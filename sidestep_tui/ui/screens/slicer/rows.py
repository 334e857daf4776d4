"""What the slicer's screen says, as rows: settings, help, the song, its cuts, and how far a slicing is. Pure."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from sidestep_tui.core import paths, text
from sidestep_tui.core.errors import SidestepError
from sidestep_tui.dataset.cutting.slicing import Estimate
from sidestep_tui.dataset.manifest import Song
from sidestep_tui.ui.screens.slicer.form import FIELDS, Field, Form
from sidestep_tui.ui.screens.slicer.jobs import Advanced
from sidestep_tui.ui.theme import ASCII, Glyphs
from sidestep_tui.ui.widgets import braille
from sidestep_tui.ui.widgets.rows import Row, Span, fit, row

_LABEL = 15
# What a dialog holds at 80x24, above its buttons.
_DIALOG_WIDTH = 64
_MOST_LINES = 12


def setting_rows(form: Form, glyphs: Glyphs, width: int, height: int, *, focused: bool) -> list[Row]:
    """The settings that have room, the one in focus among them."""
    top = min(max(form.at - height + 1, 0), max(len(FIELDS) - height, 0))
    return [
        _setting(form, item, glyphs, width, focused=focused and item is form.current)
        for item in FIELDS[top : top + height]
    ]


def _setting(form: Form, item: Field, glyphs: Glyphs, width: int, *, focused: bool) -> Row:
    pointer = f"{glyphs.focus} " if focused else "  "
    value = form.shown(item)
    style = "strong"
    if focused and item is form.current and form.typed is not None:
        style = "bad" if form.problem else "accent"
        value = f"{form.typed}_ {item.unit}"
    elif focused and item.name != "folder":
        value = f"{glyphs.left} {value} {glyphs.right}"
    room = width - _LABEL - 2
    if item.name == "folder" and len(value) > room:
        value = glyphs.ellipsis + value[-(room - 1) :]
    return fit(row((pointer, "accent"), (f"{item.label:<{_LABEL}}", "" if focused else "muted"), (value, style)), width)


def help_rows(form: Form, problem: SidestepError | None, glyphs: Glyphs, width: int) -> list[Row]:
    """A sentence about the row in focus, or what is wrong."""
    if form.problem:
        return _wrapped(f"{glyphs.bad} {form.problem}", width, "bad")
    if problem is not None:
        return [
            *_wrapped(f"{glyphs.bad} {problem.title}", width, "bad"),
            *_wrapped(without_options(problem.message), width, ""),
            *_wrapped(without_options(problem.hint), width, "muted"),
        ]
    bounds = form.current.bounds
    return [*_wrapped(form.current.help, width, "muted"), *_wrapped(bounds, width, "muted")]


def total_rows(total: Estimate, songs: int, folder: str, width: int) -> list[Row]:
    """What slicing would make of all songs."""
    left = songs - total.songs
    some = f", {left} too short" if left else ""
    words = f"{text.plural(total.slices, 'slice')} of {text.plural(total.songs, 'song')}{some}"
    return [
        *_wrapped(words, width, "strong"),
        *_wrapped(f"{text.duration(total.seconds)}, about {text.file_size(total.bytes)}", width, ""),
    ]


def progress_rows(step: Advanced, glyphs: Glyphs, width: int, *, stopping: bool) -> list[Row]:
    """How far a slicing is."""
    ascii_only = glyphs is ASCII
    looking = step.doing != "slices"
    share = step.done / step.total if step.total else 0.0
    full, rest = braille.bar(share, max(width - 6, 4), ascii_only=ascii_only)
    what = "Looking for cuts" if looking else "Writing slices"
    hint = "Stopping after the slice under way." if stopping else "esc stops; slices that are done stay."
    return [
        row((what, "strong")),
        row((full, "fill"), (rest, "faint"), f" {100 * share:3.0f} %"),
        row(""),
        *_wrapped(hint, width, "muted"),
    ]


def _wrapped(words: str, width: int, style: str) -> list[Row]:
    return [row((line, style)) for line in textwrap.wrap(words, max(width, 10))]


def song_row(song: Song, number: int, of: int, glyphs: Glyphs, width: int, zoom: int) -> Row:
    """The song in view and what it is known by."""
    facts = [text.duration(song.duration), f"{text.thousands(song.sample_rate)} Hz", _channels(song.channels)]
    if song.bpm:
        facts.append(f"{song.bpm} BPM" + (f" in {song.timesignature}" if song.timesignature else ""))
    if zoom > 1:
        facts.append(f"zoom {zoom}")
    said = f" {glyphs.separator} ".join(facts)
    where = f"{number} of {of}"
    room = max(width - len(said) - len(where) - 6, 8)
    name = song.name if len(song.name) <= room else song.name[: room - 1] + glyphs.ellipsis
    return fit(row((f" {name}", "strong"), (f"  {where}", "accent"), (f"  {said}", "muted")), width)


def _channels(count: int) -> str:
    return {1: "mono", 2: "stereo"}.get(count, f"{count} channels")


def plan_rows(plan: Mapping[str, Any], song: Song, glyphs: Glyphs, width: int) -> list[Row]:
    """The numbers of a song's cuts."""
    pieces: Sequence[Mapping[str, Any]] = plan["slices"]
    cuts = [piece for piece in pieces if piece["level"] is not None]
    rough = [piece for piece in cuts if not piece["crosses"]]
    between = f" {glyphs.separator} "
    over = plan["left_over"]
    tails = sum(bool(piece["is_tail"]) for piece in pieces)
    first: list[Span | str] = [" ", (text.plural(len(pieces), "slice"), "strong")]
    first.append(f" of {plan['samples']:,} samples" if pieces else f", too short for {plan['samples']:,} samples")
    first.append(f"{between}{over:.1f} s left over" if over >= 0.05 else f"{between}nothing left over")
    if tails:
        first.append(f"{between}the last is a tail")
    facts: list[Span] = []
    if cuts:
        moved = max((piece["moved_ms"] for piece in cuts), key=abs)
        loudest = max(piece["level"] for piece in cuts)
        facts += [(f"cuts moved up to {abs(moved):.1f} ms", ""), (f"loudest cut {level(loudest)}", "")]
    if rough:
        facts.append((f"{glyphs.warn} {len(rough)} without a common zero", "warn"))
    if plan["bar"]:
        bars = round(plan["hop"] / plan["bar"])
        facts.append((f"hop {text.plural(bars, 'bar')} of {plan['bar']:.2f} s", ""))
    second: list[Span | str] = [" "]
    for number, fact in enumerate(facts):
        second += [between, fact] if number else [fact]
    stored = f"{plan['container'].lower()} {plan['bits']} bit at {text.thousands(plan['rate'])} Hz"
    how = "sample for sample" if plan["is_exact"] else "resampled" if plan["rate"] != song.sample_rate else "rounded"
    third = row((f" {stored}{between}{how}", "muted"))
    rows = [row(*first), *([row(*second)] if facts else []), third]
    return [fit(cells, width) for cells in rows]


def level(value: float) -> str:
    """A sample value in decibels of full scale."""
    return f"{20 * math.log10(value):.0f} dBFS" if value > 0 else "silent"


def question(total: Estimate, form: Form) -> str:
    """What is about to happen: how many files, how large, where."""
    return (
        f"{text.plural(total.slices, 'slice')} of {text.plural(total.songs, 'song')}, each with a .json file of its "
        f"words: {text.thousands(2 * total.slices)} files, about {text.file_size(total.bytes)}, in "
        f"{paths.shorten(form.folder)}.\nThe songs are only read, and nothing that is there already is overwritten."
    )


def outcome_words(result: Mapping[str, Any], folder: str) -> str:
    """What a finished slicing did, and what a person may not expect; as much of it as a small window shows."""
    count = text.plural(result["slices"], "slice")
    words = (
        f"{count} of {text.plural(result['songs'], 'song')} in {folder}, {text.duration(result['seconds'])} together."
    )
    remarks = [f"{name}: {reason}" for name, reason in result["skipped"][:2]]
    if len(result["skipped"]) > 2:
        remarks.append(f"{len(result['skipped']) - 2} more songs were left out.")
    remarks = [without_options(remark) for remark in [*remarks, *result["notes"]]]
    lines = _heights([words, *remarks])
    room = next((number for number, height in enumerate(lines) if height > _MOST_LINES), len(lines))
    left_out = len(lines) - room
    more = [f"And {text.plural(left_out, 'more remark')}: dataset slice --dry-run shows all."] if left_out else []
    return "\n".join([words, "", *remarks[: room - 1], *more])


def _heights(paragraphs: list[str]) -> list[int]:
    """How many lines of a dialog all paragraphs up to each take."""
    heights = [len(textwrap.wrap(words, _DIALOG_WIDTH)) for words in paragraphs]
    return [sum(heights[: number + 1]) for number in range(len(heights))]


def without_options(words: str) -> str:
    """A sentence without what it says of the command line in brackets."""
    return re.sub(r" ?\(--[^)]*\)", "", words)
