"""A widget that is a stack of text rows and repaints only the rows that changed.

Textual writes every strip of a dirty region, so the cost of an update is its dirty area times its style changes.
Panels of the dashboard therefore hand over finished rows, and only the different ones reach the terminal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

Span = tuple[str, str]
"""Text and the style name, without the `rows--` prefix; an empty name is the plain text of the panel."""

Row = tuple[Span, ...]


def row(*spans: Span | str) -> Row:
    """Join spans and plain strings to a row; control characters become spaces."""
    return tuple((_clean(span), "") if isinstance(span, str) else (_clean(span[0]), span[1]) for span in spans)


def _clean(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def width_of(cells: Row) -> int:
    """How many cells a row takes."""
    return sum(cell_len(text) for text, _ in cells)


def fit(cells: Row, width: int) -> Row:
    """Cut a row that is too wide; its last visible cell becomes an ellipsis."""
    if width_of(cells) <= width:
        return cells
    if width <= 0:
        return ()
    kept: list[Span] = []
    left = width - 1
    for text, style in cells:
        if cell_len(text) > left:
            kept.append((set_cell_size(text, left).rstrip() + "…", style))
            break
        kept.append((text, style))
        left -= cell_len(text)
    return tuple(kept)


def spread(left: Row, right: Row, width: int) -> Row:
    """A row with one part at each end; the left part gives way when both do not fit."""
    room = width - width_of(right)
    if room <= 0:
        return fit(left, width)
    shown = fit(left, room - 1)
    return (*shown, (" " * (room - width_of(shown)), ""), *right)


class Rows(Widget):
    """A stack of rows, painted row by row."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "rows--muted",
        "rows--faint",
        "rows--strong",
        "rows--accent",
        "rows--good",
        "rows--warn",
        "rows--bad",
        "rows--fill",
        "rows--line",
        "rows--cloud",
        "rows--cursor",
        "rows--selected",
    }

    DEFAULT_CSS = """
    Rows {
        width: 1fr;
        height: 1fr;
        color: $foreground;

        & > .rows--muted { color: $text-muted; }
        & > .rows--faint { color: $foreground 22%; }
        & > .rows--strong { color: $foreground; text-style: bold; }
        & > .rows--accent { color: $text-accent; }
        & > .rows--good { color: $text-success; }
        & > .rows--warn { color: $text-warning; }
        & > .rows--bad { color: $text-error; text-style: bold; }
        & > .rows--fill { color: $primary; }
        & > .rows--line { color: $text-primary; }
        & > .rows--cloud { color: $foreground 35%; }
        & > .rows--cursor { color: $text-accent; text-style: bold; }
        &:ansi > .rows--muted { text-style: dim; }
        &:ansi > .rows--faint { text-style: dim; }
        &:ansi > .rows--cloud { text-style: dim; }
        & > .rows--selected { background: $block-cursor-blurred-background; color: $foreground; }
    }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._rows: list[Row] = []
        self._style_cache: dict[str, Style] = {}
        self.repainted_rows = 0

    @property
    def rows(self) -> Sequence[Row]:
        """What the panel shows now."""
        return tuple(self._rows)

    @property
    def plain(self) -> str:
        """The text of the panel, for tests and for people who copy it."""
        return "\n".join("".join(text for text, _ in cells).rstrip() for cells in self._rows)

    def put(self, rows: Sequence[Row]) -> int:
        """Show `rows` and repaint those that differ from what is shown; returns how many did."""
        changed = [
            y
            for y in range(max(len(rows), len(self._rows)))
            if (rows[y] if y < len(rows) else ()) != (self._rows[y] if y < len(self._rows) else ())
        ]
        self._rows = list(rows)
        self.repainted_rows += len(changed)
        width = self.size.width
        if changed and width:
            self.refresh(*(Region(0, y, width, 1) for y in changed if y < self.size.height))
        return len(changed)

    def notify_style_update(self) -> None:
        """Forget cached styles when the theme or a class changes."""
        super().notify_style_update()
        self._style_cache.clear()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """As many rows as were put."""
        return len(self._rows)

    def render_line(self, y: int) -> Strip:
        """One row as a strip of the full width."""
        width = self.size.width
        cells = fit(self._rows[y], width) if y < len(self._rows) else ()
        segments = [Segment(text, self._style(name)) for text, name in cells if text]
        return Strip(segments).adjust_cell_length(width, self._style(""))

    def _style(self, name: str) -> Style:
        style = self._style_cache.get(name)
        if style is None:
            style = self.get_component_rich_style(f"rows--{name}") if name else self.rich_style
            self._style_cache[name] = style
        return style
