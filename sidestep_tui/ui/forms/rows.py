"""Rows of a form: each is one line, can hold the focus, and keeps no value of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Offset
from textual.message import Message
from textual.widget import Widget

from sidestep_tui.schema.advice import Advice
from sidestep_tui.schema.fields import FieldSpec
from sidestep_tui.schema.values import format_value
from sidestep_tui.ui.forms import cells
from sidestep_tui.ui.forms.cells import TYPED_KINDS, Columns, RowState
from sidestep_tui.ui.forms.complete import complete_path
from sidestep_tui.ui.forms.line import Line, pasted, pasted_path
from sidestep_tui.ui.forms.session import FormSession
from sidestep_tui.ui.theme import Glyphs, glyphs_of

_NUMBER_KEYS = frozenset("0123456789.eE_+-")


def row_id(path: str) -> str:
    """The widget id of a setting's row: `adapter.rank` → `row-adapter-rank`."""
    return "row-" + path.replace(".", "-")


class FormRow(Widget, can_focus=True):
    """One focusable line. Up and down, enter and the wheel of a form are the same for all of them."""

    DEFAULT_CSS = """
    FormRow {
        height: 1;
        width: 1fr;
        &:focus { background: $panel; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "commit", "Accept", id="form.commit", show=False, tooltip="Accept, go to the next field"),
        Binding("up,k", "move(-1)", "Previous field", id="form.previous", show=False),
        Binding("down,j", "move(1)", "Next field", id="form.next", show=False),
        Binding("pageup", "move(-10)", "Ten fields up", id="form.page_up", show=False),
        Binding("pagedown", "move(10)", "Ten fields down", id="form.page_down", show=False),
        Binding("home,g", "move(-1000)", "First field", id="form.first", show=False),
        Binding("end,G", "move(1000)", "Last field", id="form.last", show=False),
    ]

    @property
    def passed_by(self) -> bool:
        """Whether accepting the row above goes on to the row below this one. Lines that do something are reached by
        the arrow keys only: enter after enter fills in a form and never applies a profile on its way."""
        return True

    class Moved(Message):
        """Go on to the row `step` rows away; `committed` when enter was pressed."""

        def __init__(self, row: FormRow, step: int, *, committed: bool) -> None:
            super().__init__()
            self.row = row
            self.step = step
            self.committed = committed

        @property
        def control(self) -> FormRow:
            return self.row

    @property
    def advice(self) -> Advice | None:
        """What the rules say about this line."""
        return None

    @property
    def help_page(self) -> str:
        """Help for the help window: a title line, then text."""
        return ""

    @property
    def glyphs(self) -> Glyphs:
        """The signs this terminal can show."""
        return glyphs_of(self.app)

    def action_move(self, step: int) -> None:
        """Another row."""
        self.post_message(self.Moved(self, step, committed=False))

    def action_commit(self) -> None:
        """Accept, and go on."""
        self.post_message(self.Moved(self, 1, committed=True))

    async def on_click(self) -> None:
        """A click is a focus."""
        self.focus()


class FieldRow(FormRow):
    """A setting. What it shows and changes is in the session; it knows only where its cursor is."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "cycle(-1)", "Previous choice", id="form.cycle_back", show=False),
        Binding("right,l", "cycle(1)", "Next choice", id="form.cycle", show=False),
        Binding("space", "flip", "Toggle", id="form.toggle", show=False, tooltip="Switch on or off"),
        Binding("plus,equals_sign", "bump(1)", "More", id="form.bump", show=False, tooltip="One step more"),
        Binding("minus", "bump(-1)", "Less", id="form.bump_down", show=False, tooltip="One step less"),
        Binding(
            "ctrl+r,backspace",
            "reset",
            "Reset field",
            id="form.reset",
            show=False,
            tooltip="Back to the preset's value",
        ),
    ]

    class Entered(Message):
        """A row got the focus."""

        def __init__(self, row: FieldRow) -> None:
            super().__init__()
            self.row = row

    def __init__(self, spec: FieldSpec, session: FormSession) -> None:
        super().__init__(id=row_id(spec.path))
        self.spec = spec
        self._session = session
        self._line: Line | None = None
        self._item = 0
        self._shown: RowState | None = None

    @property
    def help_page(self) -> str:
        """The whole help of the setting, for the help window."""
        return _help_text(self.spec)

    @property
    def passed_by(self) -> bool:
        """A setting without effect is nothing to fill in."""
        return bool(self._session.inert(self.spec.path))

    @property
    def advice(self) -> Advice | None:
        """What the rules say about the setting."""
        return self._session.advice_on(self.spec.path)

    @property
    def typed(self) -> bool:
        """Whether the row takes typing."""
        return self.spec.kind in TYPED_KINDS

    def render(self) -> Content:
        state = self._shown = self._session.row(self.spec.path)
        if self.size.width < cells.MIN_WIDTH:
            return Content("")
        columns = Columns.of_width(self.size.width)
        return cells.row(self.spec, state, columns, self.glyphs, line=self._line, item=self._item)

    def update(self) -> None:
        """Paint again if what is shown has changed, and only then."""
        state = self._session.row(self.spec.path)
        if self._line is not None and self.typed and state.text != self._line.text:
            self._line = self._enter(state.text)
        if state != self._shown:
            self.refresh()

    # Focus

    def on_focus(self) -> None:
        self._session.end_burst()
        self._line = self._enter(self._session.draft.text(self.spec.path))
        self.refresh()
        self.post_message(self.Entered(self))

    def _enter(self, text: str) -> Line:
        """Numbers are replaced by typing, since they are short; a path is too easily lost."""
        return Line.entered(text) if self.spec.kind in ("int", "float") else Line.at_end(text)

    def on_blur(self) -> None:
        self._session.end_burst()
        self._line = None
        self.refresh()

    # Typing

    def check_consume_key(self, key: str, character: str | None) -> bool:
        """Which printable keys are text here, and so no command."""
        if character is None or not character.isprintable() or not self.typed:
            return False
        if self.spec.kind in ("text", "path"):
            return True
        if character in "+-" and self._line is not None and self._line.selected:
            return False
        return character in _NUMBER_KEYS

    async def _on_key(self, event: events.Key) -> None:
        if self._line is None or not self.typed:
            return
        if self.check_consume_key(event.key, event.character):
            assert event.character is not None
            self._edit(self._line.insert(event.character))
        elif event.key == "tab" and self._completes():
            pass
        elif event.key == "right" and self._at_end() and self._completes():
            pass
        elif (edited := self._line.press(event.key)) is not None:
            self._edit(edited)
        else:
            return
        event.stop()
        event.prevent_default()

    def _on_paste(self, event: events.Paste) -> None:
        if self._line is None or not self.typed:
            return
        event.stop()
        if self.spec.kind != "path":
            self._edit(self._line.insert(pasted(event.text)))
            return
        path = pasted_path(event.text)
        # A whole path takes the place of what is there; a part of one goes where the cursor is.
        is_whole = path.startswith(("/", "~"))
        self._edit(Line.at_end(path) if is_whole else self._line.insert(path))

    def _edit(self, line: Line) -> None:
        self._line = line
        if line.text != self._session.draft.text(self.spec.path):
            self._session.type(self.spec.path, line.text)
        self.refresh()

    def _at_end(self) -> bool:
        return self._line is not None and not self._line.selected and self._line.cursor == len(self._line.text)

    def _completes(self) -> bool:
        """Complete a path; whether anything was there to complete."""
        if self.spec.kind != "path" or self._line is None or self._line.selected:
            return False
        completed = complete_path(self._line.text, takes_zips=self.spec.path == "data.path").text
        if completed == self._line.text:
            return False
        self._edit(Line(completed, len(completed)))
        return True

    # Actions

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        kind = self.spec.kind
        if action == "cycle":
            return kind in ("choice", "bool", "choices")
        if action == "flip":
            return kind in ("bool", "choices", "choice")
        if action == "bump":
            return kind in ("int", "float")
        return True

    def action_cycle(self, step: int) -> None:
        """Another choice, without opening a list."""
        if self.spec.kind == "choices":
            self._item = (self._item + step) % len(self.spec.choices)
            self.refresh()
        else:
            self._session.cycle(self.spec.path, step)

    def action_flip(self) -> None:
        """On or off; the next choice of a list of choices."""
        if self.spec.kind == "choices":
            self._session.toggle_option(self.spec.path, self.spec.choices[self._item])
        else:
            self._session.cycle(self.spec.path, 1)

    def action_commit(self) -> None:
        """Accept what is there, or what is offered where nothing is, and go on; not before there was a look for it."""
        if self._session.take_offer(self.spec.path):
            super().action_commit()

    def action_bump(self, direction: int) -> None:
        """One sensible step."""
        self._session.bump(self.spec.path, direction)

    def action_reset(self) -> None:
        """The value of the layer below."""
        self._session.reset(self.spec.path)

    @property
    def cursor_offset(self) -> Offset:
        """Where the text cursor is, for terminals that place an input method there."""
        return Offset(cells.LABEL_WIDTH + 3 + (self._line.cursor if self._line else 0), 0)


class ActionRow(FormRow):
    """A line that does something when it is accepted: a found checkpoint, a profile, a fix, the start."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space", "press", "Choose", id="form.press", show=False, tooltip="Choose this line"),
    ]

    def __init__(
        self,
        label: Callable[[bool, int], Content],
        press: Callable[[], object],
        *,
        help_text: str = "",
        advice: Advice | None = None,
        id: str | None = None,
    ) -> None:
        """`label` renders the line for a focus and a width; `press` is called on enter and space."""
        super().__init__(id=id)
        self._advice = advice
        self._label = label
        self._press = press
        self._shown: Content | None = None
        self.help_text = help_text

    @property
    def advice(self) -> Advice | None:
        """The advice that this line is."""
        return self._advice

    @property
    def help_page(self) -> str:
        """The whole help of the line."""
        return self.help_text

    def render(self) -> Content:
        content = self._shown = self._label(self.has_focus, self.size.width)
        return content

    def update(self) -> None:
        """Paint again if the line reads differently now."""
        if self._label(self.has_focus, self.size.width) != self._shown:
            self.refresh()

    def on_focus(self) -> None:
        self.refresh()
        self.post_message(ActionRow.Entered(self))

    def on_blur(self) -> None:
        self.refresh()

    def action_press(self) -> None:
        """Do it."""
        self._press()

    class Entered(Message):
        """A row got the focus."""

        def __init__(self, row: ActionRow) -> None:
            super().__init__()
            self.row = row


def _help_text(spec: FieldSpec) -> str:
    facts = [f"setting {spec.path}"]
    if spec.bounds:
        facts.append(f"allowed: {spec.bounds}" + (f" {spec.meta.unit}" if spec.meta.unit else ""))
    facts.append(f"default: {cells.shown_text(spec, format_value(spec, spec.default)) or 'none'}")
    if spec.meta.zero_means:
        facts.append(f"0: {spec.meta.zero_means}")
    return f"{spec.meta.label}\n{spec.help}\n\n" + "\n".join(facts)
