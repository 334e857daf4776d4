"""The preset under the bar as rows: what it is for, where it is from, what it would cost and change. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from sidestep_tui.core import paths, text
from sidestep_tui.schema.layers import DEFAULT, HARDWARE
from sidestep_tui.schema.preset_file import Preset
from sidestep_tui.schema.presets import PLACES
from sidestep_tui.ui.screens.presets.effect import Change, Effect, short_origin
from sidestep_tui.ui.screens.presets.listing import Item
from sidestep_tui.ui.screens.presets.rows import VERDICT_STYLES, verdict_glyph
from sidestep_tui.ui.theme import Glyphs
from sidestep_tui.ui.widgets.rows import Row, fit, row, spread

_WORD = 8
_LABEL = 18
_VALUE = 11
_WITH_ORIGINS = 66
_GIB = 1024**3
_VERDICTS = {
    "fits": "fits",
    "tight": "more than is free now",
    "over": "more than there is",
    "unknown": "",
}
_NEEDS = {"vram_gib": "GPU memory", "ram_gib": "memory", "disk_gib": "disk"}


def preview_rows(
    item: Item,
    effect: Effect | None,
    also: Sequence[str],
    width: int,
    glyphs: Glyphs,
    *,
    whole: bool = False,
    against: str = "",
) -> list[Row]:
    """The preview, as many rows as it takes. `also` is what else a run would cost: time and disk, if known; `against`
    the name of another preset that it is compared with instead of the draft.

    The small print is there only where the `whole` is asked for: a page of prose for each preset that the bar passes
    would be most of what a slow line has to carry.
    """
    if item.preset is None or effect is None:
        return _broken(item, width, glyphs)
    preset = item.preset
    head = spread(row(" ", (preset.name, "strong")), row((f"{item.group} ", "muted")), width)
    described = [row(f" {line}") for line in _wrapped(preset.description or "No description.", width - 2, 2)]
    rows = [head, *described, *([row("")] * (2 - len(described))), *_facts(item, preset, effect, also, width, glyphs)]
    rows += [row(""), *_changes(effect, width, glyphs, against)]
    if not whole:
        return rows
    for title, entries in _papers(item, preset):
        rows += [row(""), row((f" {title}", "muted"))]
        for word, said in entries:
            rows += [row(f" {line}") for line in _wrapped(f"{word}: {said}" if word else said, width - 2, 99)]
    return rows


def window_of(rows: Sequence[Row], top: int, height: int, *, reading: bool = False) -> tuple[list[Row], int]:
    """The rows that fit, from `top` on or as far as there are more, and that top.

    The last one says how to read on, always at the same place, so that it need not be painted again for each preset.
    """
    top = max(0, min(top, len(rows) - height))
    shown = list(rows[top : top + height])
    below = len(rows) - top - height
    if below > 0 and shown:
        shown[-1] = row((f" {text.plural(below + 1, 'line')} more: {'j' if reading else 'l'} reads on", "muted"))
    elif not reading and len(shown) < height:
        shown += [row("")] * (height - len(shown) - 1)
        shown.append(row((" l reads more: when it is for, its source", "muted")))
    return shown, top


def _facts(item: Item, preset: Preset, effect: Effect, also: Sequence[str], width: int, glyphs: Glyphs) -> list[Row]:
    cost = effect.cost
    device = cost.device
    room = f" of {device.total / _GIB:.1f}" if device is not None else ""
    sign = f"{verdict_glyph(cost, glyphs)} {_VERDICTS[cost.verdict]}"
    takes = row(_word("takes"), f"{cost.memory / _GIB:.1f}{room} GiB ", (sign.strip(), VERDICT_STYLES[cost.verdict]))
    trains = f"{text.count(cost.parameters)} weights"
    for more in also:
        longer = f"{trains} {glyphs.separator} {more}"
        trains = longer if len(longer) < width - _WORD - 2 else trains
    extends = f"extends {preset.extends}" if preset.extends else ""
    origin = preset.provenance.source or item.note("From") or ("a run" if preset.is_run else extends)
    return [
        fit(row(_word("from"), (origin or paths.shorten(preset.path), "muted")), width - 1),
        fit(row(_word("needs"), *_needs(preset, effect, glyphs)), width - 1),
        fit(takes, width - 1),
        fit(row(_word("trains"), trains), width - 1),
    ]


def _word(word: str) -> tuple[str, str]:
    return f" {word:<{_WORD}}", "muted"


def _needs(preset: Preset, effect: Effect, glyphs: Glyphs) -> list[tuple[str, str]]:
    if not preset.requires:
        return [("nothing in particular", "muted")]
    words = ", ".join(f"{value:g} GiB of {_NEEDS[key]}" for key, value in preset.requires.items())
    device, wanted = effect.cost.device, preset.requires.get("vram_gib")
    if device is None or device.kind != "cuda" or wanted is None:
        return [(words, "")]
    # A card of 12 GB has a little less than 12 GiB to give.
    enough = device.total / _GIB * 1.03 >= wanted
    return [(words, ""), (f" {glyphs.ok if enough else glyphs.warn}", "good" if enough else "warn")]


def _changes(effect: Effect, width: int, glyphs: Glyphs, against: str) -> list[Row]:
    changes = effect.changes
    many, lost = text.plural(len(changes), "setting"), len(effect.lost)
    if against:
        words = f" differs from {against} in {many}" if changes else f" has the settings of {against}"
    elif changes:
        words = f" changes {many}" + (f", {lost} of them yours {glyphs.changed}" if lost else "")
    else:
        words = " changes nothing in the draft"
    return [fit(row((words, "muted")), width), *(_change_row(change, effect.base, width, glyphs) for change in changes)]


def _change_row(change: Change, base: str, width: int, glyphs: Glyphs) -> Row:
    """A setting now and then; origins where they say more than that it was the draft's `base` and will be the preset.

    The same name in every row would be noise, and half of the bytes.
    """
    mark = glyphs.changed if change.yours else " "
    label = min(_LABEL, max(10, width - 2 * _VALUE - 6))
    values = f"{_cut(change.now, _VALUE, glyphs):>{_VALUE}} {glyphs.arrow} "
    # What will be stands out: and three styles a row are fewer bytes than four.
    left = row((f" {mark} {_cut(change.label, label, glyphs):<{label}} {values}", "muted"))
    if width < _WITH_ORIGINS:
        return fit((*left, *row(change.then)), width - 1)
    then = f"{_cut(change.then, _VALUE, glyphs):<{_VALUE}}  "
    origins = [f"was {short_origin(change.origin_now)}"] if change.origin_now != base else []
    origins += [f"then {change.origin_then}"] if change.origin_then in (DEFAULT, HARDWARE) else []
    return fit((*left, *row(then, (", ".join(origins), "muted"))), width - 1)


def _papers(item: Item, preset: Preset) -> list[tuple[str, list[tuple[str, str]]]]:
    """The small print: what the comment says, what was changed against the source, what hides what."""
    about = [(word, said) for word, said in item.notes if word not in ("Run", "From")]
    if preset.provenance.source:
        about.append(("From", preset.provenance.source))
    elif item.note("From"):
        about.append(("From", item.note("From")))
    if preset.extends:
        about.append(("Extends", f"{preset.extends}, which gives what the file does not set itself."))
    if preset.hides:
        others = text.listing([PLACES[source] for source in preset.hides])
        about.append(("Hides", f"the one of that name that is {others}."))
    if preset.hidden:
        about.append(("Hidden", "another of that name comes first; give the path to use this one."))
    if not item.is_shipped:
        about.append(("File", paths.shorten(preset.path)))
    papers = [("about", about)]
    for title, reasons in (
        ("not as in the source", preset.provenance.changed),
        ("left out of the source", preset.provenance.left_out),
    ):
        if reasons:
            papers.append((title, list(reasons.items())))
    return papers


def _broken(item: Item, width: int, glyphs: Glyphs) -> list[Row]:
    head = spread(row(" ", (item.name, "strong")), row((f"{item.group} ", "muted")), width)
    rows = [head, row((f" {glyphs.bad} cannot be used", "bad")), row("")]
    problem = item.problem
    if problem is None:
        return rows
    for part, style in ((problem.title, ""), (problem.message, ""), (problem.hint, "muted")):
        for line in part.splitlines():
            rows += [row((f" {piece}", style)) for piece in _wrapped(line, width - 2, 20)]
    if item.is_own:
        rows += [
            row(""),
            row(
                " ", ("e", "accent"), (" opens it in your editor, ", "muted"), ("D", "accent"), (" deletes it", "muted")
            ),
        ]
    return [*rows, row(""), row((f" {paths.shorten(item.path)}", "muted"))]


def _wrapped(words: str, width: int, most: int) -> list[str]:
    return textwrap.wrap(words, max(width, 10), max_lines=most, placeholder=" …")


def _cut(words: str, width: int, glyphs: Glyphs) -> str:
    return words if len(words) <= width else words[: width - len(glyphs.ellipsis)] + glyphs.ellipsis
