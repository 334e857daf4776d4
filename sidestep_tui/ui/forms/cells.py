"""One row of a form as text in columns: marker, name, value, default and range, origin. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

from textual.content import Content

from sidestep_tui.schema.advice import Advice
from sidestep_tui.schema.fields import FieldSpec
from sidestep_tui.schema.values import format_number, format_value
from sidestep_tui.ui.forms.line import Line
from sidestep_tui.ui.theme import UNICODE, Glyphs

LABEL_WIDTH = 22
_LONGEST_CHOICE = 12
_OVERHEAD = 8
"""Cells of the pointer, the gaps between the columns and the mark of a value that is not the default."""
MIN_WIDTH = 52
"""Rows are not laid out for less; a window that small shows one line instead."""
TYPED_KINDS = ("int", "float", "text", "path")


@dataclass(frozen=True, slots=True)
class RowState:
    """What a row shows of its setting. `origin` is the name of the layer that decided the value.

    `inert` says why the setting has no effect, `advice` what the rules say about it, `offer` what enter takes while it
    is empty.
    """

    text: str
    origin: str
    changed: bool
    error: str
    inert: str = ""
    advice: Advice | None = None
    offer: str = ""


@dataclass(frozen=True, slots=True)
class Columns:
    """Widths in cells; they depend on nothing but the width of the row, so that nothing ever moves."""

    label: int
    value: int
    hint: int
    origin: int

    @classmethod
    def of_width(cls, width: int) -> Columns:
        """Share `width` among the columns."""
        origin = 8 if width < 90 else 18
        rest = max(0, width - LABEL_WIDTH - origin - _OVERHEAD)
        value = min(rest, max(_LONGEST_CHOICE, rest // 2))
        return cls(LABEL_WIDTH, value, rest - value, origin)


def heading(columns: Columns, glyphs: Glyphs = UNICODE) -> Content:
    """The names of the columns."""
    hint = f"default {glyphs.separator} range" if columns.hint >= 15 else "default"
    text = "".join(
        (
            "  ",
            "setting".ljust(columns.label),
            " ",
            "value".ljust(columns.value),
            "  ",
            hint.ljust(columns.hint)[: columns.hint],
            "   ",
            "from",
        )
    )
    return Content.styled(text, "$faint")


def row(
    spec: FieldSpec, state: RowState, columns: Columns, glyphs: Glyphs, *, line: Line | None, item: int = 0
) -> Content:
    """The whole row. `line` is the text being edited while focused, `item` the option under the cursor of a list."""
    focused = line is not None
    dead = bool(state.inert) and not focused
    label_style = "bold" if focused else ("$error" if state.error else "$faint" if dead else "")
    parts: list[Content] = [
        Content.styled(glyphs.focus + " " if focused else "  ", "$primary"),
        Content.styled(_fit(spec.meta.label, columns.label, glyphs), label_style),
    ]
    said = state.error or state.inert or (state.advice is not None and state.advice.severity != "advice")
    wide = dead or (spec.kind in ("path", "text") and not said)
    width = columns.value + (columns.hint + 1 if wide else 0)
    if dead:
        parts.append(_without_effect(spec, state, width, glyphs))
    else:
        parts.append(_value(spec, state, width, glyphs, line=line, item=item))
    if not wide:
        parts.append(_hint(spec, state, columns.hint, glyphs))
    parts.append(Content(" "))
    parts.append(_origin(state, columns.origin, glyphs))
    return Content("").join(parts)


def short_bounds(spec: FieldSpec) -> str:
    """The range in few cells: `1–512`, `>0–1`, `≥1`; choices are shown elsewhere."""
    if spec.low is None and spec.high is None:
        return ""
    low = ("" if spec.low is None else (">" if spec.low_open else "") + _short(spec.low)) or "…"
    high = ("" if spec.high is None else ("<" if spec.high_open else "") + _short(spec.high)) or "…"
    return f"{low}–{high}"


def shown_text(spec: FieldSpec, text: str) -> str:
    """A value as people read it."""
    if spec.kind == "bool":
        return "on" if text == "true" else "off"
    return text


def _short(value: float) -> str:
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if value >= size and value % size == 0:
            return f"{value / size:g}{letter}"
    if value >= 1e9:
        return f"{value / 1e9:.0f}G"
    return format_number(value)


def _fit(text: str, width: int, glyphs: Glyphs) -> str:
    return text.ljust(width) if len(text) <= width else text[: width - 1] + glyphs.ellipsis


def _cut(text: str, width: int, glyphs: Glyphs) -> str:
    """At most `width` cells; a cut text ends in an ellipsis, and what would be nothing else is left out."""
    if len(text) <= width:
        return text
    return text[: width - 1] + glyphs.ellipsis if width > 3 else ""


def _value(spec: FieldSpec, state: RowState, width: int, glyphs: Glyphs, *, line: Line | None, item: int) -> Content:
    """The value in `width` cells between two gap cells, which hold the arrows of a focused choice."""
    if spec.kind in TYPED_KINDS:
        return _typed_value(spec, state, width, glyphs, line)
    gap_left, gap_right = (glyphs.left, glyphs.right) if line is not None else (" ", " ")
    style = _value_style(state)
    if spec.kind == "choices":
        return _options(spec, state, width, glyphs, item=item if line is not None else -1)
    text = shown_text(spec, state.text)
    if spec.kind == "bool":
        text = f"{glyphs.on if state.text == 'true' else glyphs.off} {text}"
        gap_left = gap_right = " "
    body = Content.styled(_fit(text, min(len(text), width), glyphs), style)
    tail = gap_right + " " * (width - min(len(text), width))
    return Content.assemble((gap_left, "$primary"), body, (tail, "$primary"))


def _without_effect(spec: FieldSpec, state: RowState, width: int, glyphs: Glyphs) -> Content:
    """The value in grey, and why it counts for nothing: told in words, so that no colour is needed to see it."""
    value = shown_text(spec, state.text) or spec.meta.empty_means
    return Content.styled(f" {_fit(f'{value:<6} {glyphs.dash} {state.inert}', width, glyphs)} ", "$faint")


def _typed_value(spec: FieldSpec, state: RowState, width: int, glyphs: Glyphs, line: Line | None) -> Content:
    if line is not None:
        return Content.assemble(" ", _edited(spec, state, line, width, glyphs), " ")
    style = _value_style(state)
    text = state.text
    if not text:
        shown = _fit(_if_empty(spec, state), width, glyphs)
        return Content.assemble(" ", (shown, "$faint"), " ")
    if spec.kind == "path" and len(text) > width:
        text = glyphs.ellipsis + text[len(text) - width + 1 :]
    text = text if len(text) <= width else text[: width - 1] + glyphs.ellipsis
    unit = _cut(_unit(spec, state.text), width - len(text), glyphs)
    pad = " " * (width - len(text) - len(unit))
    return Content.assemble(" ", (text, style), (unit, "$muted"), pad, " ")


def _if_empty(spec: FieldSpec, state: RowState) -> str:
    """What stands where nothing has been typed: what enter would take, or what an empty setting means."""
    return f"enter: {PurePath(state.offer).name}" if state.offer else spec.meta.empty_means


def _edited(spec: FieldSpec, state: RowState, line: Line, width: int, glyphs: Glyphs) -> Content:
    text, cursor = line.shown(width)
    padded = text.ljust(width)[:width]
    if line.selected:
        unit = _cut(_unit(spec, line.text), width - len(text), glyphs)
        return Content.assemble(
            (text, "$block-cursor-foreground on $block-cursor-background"),
            (unit, "$muted"),
            " " * (width - len(text) - len(unit)),
        )
    cursor = min(cursor, width - 1)
    if not line.text:
        shown = _fit(_if_empty(spec, state), width - 1, glyphs)
        return Content.assemble((" ", "reverse"), (shown, "$accent" if state.offer else "$faint"))
    return Content.assemble(padded[:cursor], (padded[cursor], "reverse"), padded[cursor + 1 :])


def _unit(spec: FieldSpec, text: str) -> str:
    if text == "0" and spec.meta.zero_means:
        return f" {spec.meta.zero_means}"
    return f" {spec.meta.unit}" if spec.meta.unit else ""


def _options(spec: FieldSpec, state: RowState, width: int, glyphs: Glyphs, *, item: int) -> Content:
    chosen = [part.strip() for part in state.text.split(",")]
    parts: list[Content] = []
    used = 0
    for index, choice in enumerate(spec.choices):
        text = f"{glyphs.on if choice in chosen else glyphs.off}{choice}"
        style = "reverse" if index == item else ("bold" if choice in chosen else "$faint")
        parts += [Content.styled(text, style), Content(" ")]
        used += len(text) + 1
    return Content.assemble(" ", *parts, " " * max(0, width - used), " ")


def _hint(spec: FieldSpec, state: RowState, width: int, glyphs: Glyphs) -> Content:
    if state.error:
        return Content.styled(" " + _fit(f"{glyphs.bad} {short_error(spec)}", width, glyphs), "$error")
    if state.inert:
        return Content.styled(" " + _fit(f"{glyphs.dash} {state.inert}", width, glyphs), "$faint")
    if state.advice is not None and state.advice.severity != "advice":
        return _advised(spec, state.advice, width, glyphs)
    default = shown_text(spec, format_value(spec, spec.default))
    parts = [default or spec.meta.empty_means]
    if bounds := short_bounds(spec):
        parts.append(bounds)
    text = f" {glyphs.separator} ".join(parts).replace("–", glyphs.dash)
    if len(text) > width:
        text = parts[0]
    return Content.styled(" " + _fit(text, width, glyphs), "$faint")


def fix_key(spec: FieldSpec) -> str:
    """The key that follows the advice on a row: a field of text takes letters as text."""
    return "f12" if spec.kind in ("text", "path") else "F"


def _advised(spec: FieldSpec, advice: Advice, width: int, glyphs: Glyphs) -> Content:
    """That a rule objects, with its remedy as far as there is room; the help pane has the sentence."""
    is_error = advice.severity == "error"
    mark = glyphs.bad if is_error else glyphs.warn
    words = [f"{mark} {fix_key(spec)}: {act}" for act in (advice.fix_label, "fix")] if advice.fix else []
    shown = next((text for text in words if len(text) <= width), f"{mark} see below")
    return Content.styled(" " + _fit(shown, width, glyphs), "$error" if is_error else "$warning")


def short_error(spec: FieldSpec) -> str:
    """What would be right, in few cells; the help pane has the sentence."""
    if spec.kind in ("int", "float"):
        return short_bounds(spec)
    return "see below"


def _value_style(state: RowState) -> str:
    if state.error:
        return "$error underline"
    return "bold" if state.changed else ""


def _origin(state: RowState, width: int, glyphs: Glyphs) -> Content:
    mark = glyphs.changed if state.origin != "default" else " "
    name = state.origin
    if len(name) > width:
        name = {"command line": "command"}.get(name, name.split(" ", 1)[0])
    return Content.assemble((f"{mark} ", "$accent"), (name[:width].ljust(width), origin_style(state.origin)))


def origin_style(origin: str) -> str:
    """Provenance in colour as well as in words."""
    if origin == "default":
        return "$faint"
    if origin == "yours":
        return "bold"
    return "$accent" if origin.startswith("preset") else "$secondary"
