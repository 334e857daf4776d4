"""Questions about presets: under what name, on top of what, from which file, and what became of its keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Static

from sidestep_tui.core import text
from sidestep_tui.schema.import_report import Verdict
from sidestep_tui.schema.presets import Place
from sidestep_tui.ui.base import Dialog
from sidestep_tui.ui.dialogs.text import AskText
from sidestep_tui.ui.forms.complete import complete_file
from sidestep_tui.ui.theme import glyphs_of

if TYPE_CHECKING:
    from sidestep_tui.schema.importers import ImportReport
    from sidestep_tui.schema.preset_file import Preset

_VERDICT_STYLE = {"taken": "$success", "translated": "$accent", "refused": "$error"}
_VERDICTS: tuple[Verdict, ...] = ("refused", "translated", "taken")
PRESET_SUFFIXES = (".toml", ".json", ".yaml", ".yml")

_PLACE_WORDS: Mapping[Place, str] = {
    "user": "kept among your own, for every folder",
    "project": "kept in ./presets, with this folder",
}

ImportAnswer = Literal["apply", "save"]


class Saved(NamedTuple):
    """What a draft is to be saved as: `extends` names the preset that it goes on top of, `place` where it is kept."""

    name: str
    description: str
    extends: str
    place: Place


class Savable(NamedTuple):
    """One way of saving a draft: on top of a preset, or, with an empty `extends`, by itself; and what the file holds
    then."""

    extends: str
    values: Mapping[str, Any]


class Cycle(Widget, can_focus=True):
    """One of a few answers on a line; left, right and space go round."""

    DEFAULT_CSS = "Cycle { height: 1; width: 1fr; background: $panel; }"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,space,l", "turn(1)", "Next choice", id="cycle.next", show=False),
        Binding("left,h", "turn(-1)", "Previous choice", id="cycle.previous", show=False),
        Binding("enter", "accept", "Accept", id="cycle.accept", show=False),
    ]

    class Turned(Message):
        """Another answer is shown."""

    class Accepted(Message):
        """Enter was pressed."""

    def __init__(self, choices: Sequence[str], *, id: str) -> None:
        super().__init__(id=id)
        self._choices = choices
        self.at = 0

    def render(self) -> Content:
        glyphs = glyphs_of(self.app)
        left, right = (glyphs.left, glyphs.right) if len(self._choices) > 1 else (" ", " ")
        style = "bold $primary" if self.has_focus else "$muted"
        return Content.assemble((f"{left} ", style), self._choices[self.at], (f" {right}", style))

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def action_turn(self, step: int) -> None:
        """Another answer."""
        self.at = (self.at + step) % len(self._choices)
        self.refresh()
        self.post_message(self.Turned())

    def action_accept(self) -> None:
        """Enter means the same as in the fields."""
        self.post_message(self.Accepted())


class SavePreset(Dialog[Saved | None]):
    """A name, what it is for and where to keep it, above the settings that will be in the file."""

    DEFAULT_CSS = """
    SavePreset > .dialog {
        width: 76; padding: 0 1;
        & Input { margin-top: 0; }
        & .label { color: $muted; }
        & #problem { margin-top: 0; height: 1; }
        & VerticalScroll { height: auto; max-height: 8; scrollbar-size-vertical: 1; margin-top: 1; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "app.focus_next", "Next field", id="save.next", show=False, priority=True),
        Binding("up", "app.focus_previous", "Previous field", id="save.previous", show=False, priority=True),
    ]

    def __init__(
        self,
        ways: Sequence[Savable],
        name: str,
        *,
        places: Sequence[Place],
        is_taken: Callable[[str, Place], Preset | None],
        problem: Callable[[str, Place, str], str],
    ) -> None:
        """`is_taken` finds the preset that would be overwritten; `problem` says why a name cannot be, there and on top
        of the preset that it extends."""
        super().__init__()
        self._ways = ways
        self._name_given = name
        self._places = places
        self._taken = is_taken
        self._problem = problem

    def compose(self) -> ComposeResult:
        box = Vertical(classes="dialog")
        box.border_title = "Save as preset"
        box.border_subtitle = "enter saves, esc cancels"
        with box:
            yield Static("name", classes="label")
            yield self._field(self._name_given, "preset-name", "drums_12gb")
            yield Static("", markup=False, classes="hint", id="problem")
            yield Static("what it is for", classes="label")
            yield self._field("", "preset-purpose", "one line, shown in the list (may stay empty)")
            if len(self._ways) > 1:
                yield Cycle([self._way_words(way) for way in self._ways], id="preset-way")
            if len(self._places) > 1:
                yield Cycle([_PLACE_WORDS[place] for place in self._places], id="preset-place")
            with VerticalScroll(can_focus=False):
                yield Static(self._kept(), id="kept")

    def _field(self, value: str, name: str, placeholder: str) -> Input:
        field = Input(value, placeholder=placeholder, compact=True, id=name)
        field.cursor_blink = False
        return field

    def _way_words(self, way: Savable) -> str:
        return f"on top of {way.extends}, which it names" if way.extends else "by itself, with all that it needs"

    @property
    def _way(self) -> Savable:
        return self._ways[self.query_one("#preset-way", Cycle).at] if len(self._ways) > 1 else self._ways[0]

    @property
    def _place(self) -> Place:
        return self._places[self.query_one("#preset-place", Cycle).at] if len(self._places) > 1 else self._places[0]

    def _kept(self, way: Savable | None = None) -> Content:
        from sidestep_tui.schema.fields import fields_by_path

        extends, values = way or self._ways[0]
        specs, many = fields_by_path(), len(values)
        head = (
            f"{text.plural(many, 'setting')} {'differs' if many == 1 else 'differ'} from {extends or 'the defaults'}."
            " Paths, the trigger tag and the run's name are left out."
        )
        lines = [Content.styled(head, "$muted")]
        for path, value in values.items():
            lines.append(Content.assemble(f"  {path} = ", (specs[path].write(value), "bold")))
        return Content("\n").join(lines)

    def on_mount(self) -> None:
        self.query_one("#preset-name", Input).focus()

    @on(Cycle.Turned)
    def _turned(self) -> None:
        self.query_one("#kept", Static).update(self._kept(self._way))
        self._judge(self.query_one("#preset-name", Input).value)

    @on(Input.Changed, "#preset-name")
    def _named(self, event: Input.Changed) -> None:
        self._judge(event.value)

    def _judge(self, name: str) -> None:
        problem = self._problem(name, self._place, self._way.extends) if name else ""
        taken = self._taken(name, self._place) if not problem else None
        words = problem or (f"'{name}' is yours already: enter asks before it is overwritten." if taken else "")
        line = self.query_one("#problem", Static)
        line.set_class(bool(problem), "problem")
        line.update(words)
        purpose = self.query_one("#preset-purpose", Input)
        if taken is not None and not purpose.value:
            purpose.value = taken.description

    @on(Input.Submitted)
    @on(Cycle.Accepted)
    def _submitted(self) -> None:
        name, purpose = (self.query_one(f"#preset-{part}", Input).value.strip() for part in ("name", "purpose"))
        if not name or self._problem(name, self._place, self._way.extends):
            self.query_one("#preset-name", Input).focus()
            return
        self.dismiss(Saved(name, purpose, self._way.extends, self._place))


class AskPath(AskText):
    """The path of a file or folder, completed by tab."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "complete", "Complete", id="path.complete", show=False, priority=True, tooltip="Complete"),
    ]

    def __init__(
        self,
        title: str,
        body: str,
        *,
        value: str = "",
        check: Callable[[str], str] | None = None,
        suffixes: Sequence[str] = PRESET_SUFFIXES,
    ) -> None:
        super().__init__(title, body, value=value, check=check, hint="tab completes, enter accepts, esc cancels")
        self._suffixes = tuple(suffixes)

    def action_complete(self) -> None:
        """Complete what is typed as far as it is plain, and list what it could become."""
        field = self.query_one(Input)
        found = complete_file(field.value, self._suffixes)
        field.value = found.text
        field.cursor_position = len(found.text)
        if len(found.candidates) > 1:
            self.query_one("#problem", Static).update(text.listing(found.candidates, most=12))


class ShowImport(Dialog[ImportAnswer | None]):
    """The report of an import, key by key: to apply it, to save it as a preset, or neither."""

    DEFAULT_CSS = """
    ShowImport > .dialog {
        width: 96; height: 90%; padding: 0 1;
        & .summary { color: $muted; }
        & VerticalScroll { height: 1fr; scrollbar-size-vertical: 1; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,enter", "answer('apply')", "Apply", id="import.apply", tooltip="Start the draft from it"),
        Binding("s,ctrl+s", "answer('save')", "Save", id="import.save", tooltip="Keep it as a preset of yours"),
        Binding("n,q", "dismiss_dialog", "Cancel", id="import.cancel"),
        Binding("j,down", "scroll_rows(1)", "Down", id="import.down", show=False),
        Binding("k,up", "scroll_rows(-1)", "Up", id="import.up", show=False),
        Binding("ctrl+d,pagedown,space", "scroll_rows(12)", "Page down", id="import.page_down", show=False),
        Binding("ctrl+u,pageup", "scroll_rows(-12)", "Page up", id="import.page_up", show=False),
    ]

    def __init__(self, source: str, report: ImportReport) -> None:
        """`source` names the file or the text that was read."""
        super().__init__()
        self._source = source
        self._report = report

    def compose(self) -> ComposeResult:
        box = Vertical(classes="dialog")
        box.border_title = Content(f"Import {self._source} ({self._report.source_format})")
        box.border_subtitle = "enter applies, s saves it as yours, esc cancels"
        with box:
            yield Static(f"{self.summary}\n", markup=False, classes="summary")
            with VerticalScroll(can_focus=False):
                yield Static(Content("\n").join(self.lines()))

    @property
    def summary(self) -> str:
        """How many keys became what."""
        return self._report.summary

    def lines(self) -> list[Content]:
        """A line for each key, wrong and refused ones first: that is what one has to know before the rest is of use."""
        rows = sorted(self._report.rows, key=lambda row: (not row.wrong, _VERDICTS.index(row.verdict)))
        width = min(max((len(row.key) for row in rows), default=0), 32)
        return [
            Content.assemble(
                f"{row.key:<{width}}  ",
                (f"{'wrong' if row.wrong else row.verdict:<11}", _VERDICT_STYLE[row.verdict]),
                (" ".join(filter(None, (row.detail, row.fix))), "$muted"),
            )
            for row in rows
        ]

    def action_answer(self, answer: ImportAnswer) -> None:
        """Apply it, or save it."""
        self.dismiss(answer)

    def action_scroll_rows(self, lines: int) -> None:
        """Scroll by lines."""
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)
