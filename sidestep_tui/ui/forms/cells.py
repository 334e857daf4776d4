"""One row of a form as text in columns: marker, name, value, default and range, origin. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from textual.content import Content

from sidestep_tui.schema.fields import FieldSpec
from sidestep_tui.schema.values import format_number, format_value
from sidestep_tui.ui.forms.line import Line
from sidestep_tui.ui.theme import Glyphs

LABEL_WIDTH = 22
_LONGEST_CHOICE = 12
_OVERHEAD = 8
"""Cells of the pointer, the gaps between the columns and the mark of a value that is not the default."""
MIN_WIDTH = 52
"""Rows are not laid out for less; a window that small shows one line instead."""
TYPED_KINDS = ("int", "float", "text", "path")


@dataclass(frozen=True, slots=True)
class RowState:
    """What a row shows of its setting. `origin` is the name of the layer that decided the value."""

    text: str
    origin: str
    changed: bool
    error: str


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


def heading(columns: Columns) -> Content:
    """The names of the columns."""
    text = "".join(
        (
            "  ",
            "setting".ljust(columns.label),
            " ",
            "value".ljust(columns.value),
            "  ",
            ("default · range" if columns.hint >= 15 else "default").ljust(columns.hint)[: columns.hint],
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
    label_style = "bold" if focused else ("$error" if state.error else "")
    parts: list[Content] = [
        Content.styled(glyphs.focus + " " if focused else "  ", "$primary"),
        Content.styled(_fit(spec.meta.label, columns.label, glyphs), label_style),
    ]
    wide = spec.kind in ("path", "text") and not state.error
    width = columns.value + (columns.hint + 1 if wide else 0)
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


def _typed_value(spec: FieldSpec, state: RowState, width: int, glyphs: Glyphs, line: Line | None) -> Content:
    if line is not None:
        return Content.assemble(" ", _edited(spec, line, width, glyphs), " ")
    style = _value_style(state)
    text = state.text
    if not text:
        shown = _fit(spec.meta.empty_means, width, glyphs)
        return Content.assemble(" ", (shown, "$faint"), " ")
    if spec.kind == "path" and len(text) > width:
        text = glyphs.ellipsis + text[len(text) - width + 1 :]
    text = text if len(text) <= width else text[: width - 1] + glyphs.ellipsis
    unit = _cut(_unit(spec, state.text), width - len(text), glyphs)
    pad = " " * (width - len(text) - len(unit))
    return Content.assemble(" ", (text, style), (unit, "$muted"), pad, " ")


def _edited(spec: FieldSpec, line: Line, width: int, glyphs: Glyphs) -> Content:
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
        return Content.assemble((" ", "reverse"), (spec.meta.empty_means.ljust(width)[: width - 1], "$faint"))
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
    default = shown_text(spec, format_value(spec, spec.default))
    parts = [default or spec.meta.empty_means]
    if bounds := short_bounds(spec):
        parts.append(bounds)
    text = f" {glyphs.separator} ".join(parts)
    if len(text) > width:
        text = parts[0]
    return Content.styled(" " + _fit(text, width, glyphs), "$faint")


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
