"""Help for whatever has the focus, and every key that works here."""

from __future__ import annotations

import inspect
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import ActiveBinding, Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from sidestep_tui.ui.base import Dialog
from sidestep_tui.ui.forms.rows import FormRow


class Help(Dialog[None]):
    """A page of text; enter, q, ?, f1 and esc close it."""

    DEFAULT_CSS = """
    Help > .dialog { width: 76; height: 90%; scrollbar-size-vertical: 1; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,q,question_mark,f1", "dismiss_dialog", "Close", id="dialog.close"),
        Binding("j,down", "scroll_text(1)", "Down", id="help.down", show=False),
        Binding("k,up", "scroll_text(-1)", "Up", id="help.up", show=False),
        Binding("ctrl+d,pagedown,space", "scroll_text(12)", "Page down", id="help.page_down", show=False),
        Binding("ctrl+u,pageup", "scroll_text(-12)", "Page up", id="help.page_up", show=False),
        Binding("g,home", "scroll_text(-9999)", "First line", id="help.first", show=False),
        Binding("G,end", "scroll_text(9999)", "Last line", id="help.last", show=False),
    ]

    def __init__(self, title: str, text: str, keys: list[tuple[str, str]]) -> None:
        super().__init__()
        self._title = title
        self._text = text
        self._keys = keys

    def compose(self) -> ComposeResult:
        box = VerticalScroll(classes="dialog")
        box.border_title = Content(self._title)
        box.border_subtitle = "esc closes"
        with box:
            if self._text:
                yield Static(self._text + "\n", markup=False)
            yield Static(_key_table(self._keys))

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()

    def action_scroll_text(self, lines: int) -> None:
        """Scroll by lines."""
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)


def help_of(screen: Screen[object]) -> Help:
    """The help of a screen as it stands: the nearest HELP from the focus upwards, and the active keys."""
    node = screen.focused or screen
    text = node.help_page if isinstance(node, FormRow) else ""
    helpful = (item.HELP for item in node.ancestors_with_self if isinstance(item, Widget) and item.HELP)
    text = text or next(helpful, "")
    title, _, body = inspect.cleandoc(text).partition("\n")
    return Help(title.lstrip("# ") or "Keys", body.strip(), active_keys(screen))


def active_keys(screen: Screen[object]) -> list[tuple[str, str]]:
    """Pairs of keys and what they do, once for each action, nearest to the focus first."""
    rows: dict[tuple[str, str], list[str]] = {}
    for binding in screen.active_bindings.values():
        if not shown_in_help(binding):
            continue
        text = binding.binding.tooltip or binding.binding.description
        keys = rows.setdefault((binding.binding.action, text), [])
        keys.append(screen.app.get_key_display(binding.binding))
    return [(", ".join(dict.fromkeys(keys)), text) for (_, text), keys in rows.items()]


def shown_in_help(binding: ActiveBinding) -> bool:
    """Whether an active binding is ours to explain; scrolling and text editing speak for themselves."""
    return bool(binding.binding.description) and binding.enabled and bool(binding.binding.id)


def _key_table(keys: list[tuple[str, str]]) -> Content:
    width = max((len(key) for key, _ in keys), default=0)
    lines = [Content.assemble((key.rjust(width), "$primary"), "  ", text) for key, text in keys]
    return Content("\n").join(lines)
