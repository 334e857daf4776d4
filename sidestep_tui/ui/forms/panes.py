"""The fixed parts around a form: title, steps, help. Each is one widget that paints itself whole and only on change."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from sidestep_tui.ui.theme import Glyphs, glyphs_of


class Pane(Widget):
    """A widget that shows one Content and repaints only if it differs."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._shown = Content("")

    @property
    def glyphs(self) -> Glyphs:
        """The signs this terminal can show."""
        return glyphs_of(self.app)

    def build(self) -> Content:
        """What to show, at the present size."""
        raise NotImplementedError

    def render(self) -> Content:
        self._shown = self.build()
        return self._shown

    def update(self) -> None:
        """Paint again if it reads differently now."""
        if self.is_mounted and self.build() != self._shown:
            self.refresh()


def spread(left: Content, right: Content, width: int) -> Content:
    """One line with something at each end; the left gives way."""
    room = max(0, width - right.cell_length - 1)
    if left.cell_length > room:
        left = left.truncate(room, ellipsis=True)
    return Content.assemble(left, " " * max(0, width - left.cell_length - right.cell_length), right)


class TitleBar(Pane):
    """Where we are, on the left; what we start from and whether it is valid, on the right."""

    DEFAULT_CSS = "TitleBar { height: 1; width: 1fr; background: $surface; padding: 0 1; }"

    def __init__(self) -> None:
        super().__init__()
        self.left = Content("")
        self.right = Content("")

    def build(self) -> Content:
        return spread(self.left, self.right, self.size.width)

    def show(self, left: Content, right: Content) -> None:
        """Set both ends."""
        self.left, self.right = left, right
        self.update()


@dataclass(frozen=True, slots=True)
class RailItem:
    """One step as the rail shows it."""

    label: str
    mark: str
    style: str
    current: bool


class StepRail(Pane, can_focus=True):
    """The steps, with a mark each. Digits go straight to one; up and down walk."""

    HELP = (
        "Steps\nThe steps may be visited in any order, and left with errors: the mark tells.\n\n"
        "✓ seen and valid   ✕ has errors   ! has warnings   · not seen yet"
    )

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k,left_square_bracket", "step(-1)", "Previous step", id="rail.previous", show=False),
        Binding("down,j,right_square_bracket", "step(1)", "Next step", id="rail.next", show=False),
        Binding("enter,right,l", "enter_page", "To the fields", id="rail.enter", show=False),
    ]

    class Stepped(Message):
        """Go to a step relative to the current one."""

        def __init__(self, step: int) -> None:
            super().__init__()
            self.step = step

    class PageEntered(Message):
        """Go to the fields of the current step."""

    class Picked(Message):
        """Go to a step."""

        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index

    def __init__(self) -> None:
        super().__init__()
        self.items: Sequence[RailItem] = ()
        self.notes: Sequence[str] = ()

    def show(self, items: Sequence[RailItem], notes: Sequence[str]) -> None:
        """Set the steps, and the lines below them."""
        self.items, self.notes = items, notes
        self.update()

    def build(self) -> Content:
        lines: list[Content] = []
        for number, item in enumerate(self.items, 1):
            pointer = self.glyphs.focus if item.current else " "
            label_style = ("bold $primary" if self.has_focus else "bold") if item.current else "$muted"
            lines.append(
                Content.assemble(
                    (pointer, "$primary"), (item.mark, item.style), f" {number} ", (item.label, label_style)
                )
            )
        lines += [Content("")] + [Content.styled(" " + note, "$faint") for note in self.notes]
        return Content("\n").join(lines)

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def action_step(self, step: int) -> None:
        """Another step."""
        self.post_message(self.Stepped(step))

    def action_enter_page(self) -> None:
        """To the fields."""
        self.post_message(self.PageEntered())

    def on_click(self, event: events.Click) -> None:
        if event.y < len(self.items):
            self.post_message(self.Picked(event.y))


class HelpPane(Pane):
    """Help for the focused field in a few lines of fixed number, then one line of facts and costs."""

    DEFAULT_CSS = """
    HelpPane {
        height: 5; width: 1fr; padding: 0 1; border-top: solid $border-blurred;
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.note = ("", "")
        self.extra = Content("")
        self.facts = Content("")
        self.cost = Content("")

    def show(
        self,
        text: str,
        *,
        facts: Content,
        cost: Content,
        note: tuple[str, str] = ("", ""),
        extra: Content | None = None,
    ) -> None:
        """Set the help text, a note (and its style) that takes its first lines, an extra line that takes its last, and
        the facts."""
        self.text, self.note, self.facts, self.cost = text, note, facts, cost
        self.extra = extra or Content("")
        self.update()

    def build(self) -> Content:
        width, height = self.size.width, self.size.height
        if width < 10 or height < 2:
            return Content("")
        lines: list[Content] = []
        room = height - 1 - bool(self.extra.plain)
        note, style = self.note
        if note:
            lines += [Content.styled(line, style) for line in _wrapped(note, width, min(2, room))]
        lines += _with_code(_wrapped(self.text, width, room - len(lines)))
        lines += [Content("")] * (room - len(lines))
        if self.extra.plain:
            lines.append(self.extra.truncate(width, ellipsis=True))
        lines.append(spread(self.facts, self.cost, width))
        return Content("\n").join(lines)


def _with_code(lines: list[str]) -> list[Content]:
    """Lines in which what stands between backticks is coloured instead; a pair may span lines."""
    code = False
    shown: list[Content] = []
    for line in lines:
        parts: list[tuple[str, str]] = []
        for index, part in enumerate(line.split("`")):
            code = code if index == 0 else not code
            parts.append((part, "$accent" if code else ""))
        shown.append(Content.assemble(*parts))
    return shown


def _wrapped(text: str, width: int, most: int) -> list[str]:
    """`text` in at most `most` lines; the last one ends in … when more would follow."""
    if most < 1:
        return []
    return textwrap.wrap(text, width, max_lines=most, placeholder=" …")
