"""Which settings the table shows, in which order, and which one is under the bar. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sidestep_tui.schema.fields import FieldSpec, all_fields
from sidestep_tui.ui.dialogs.pick import words_in

if TYPE_CHECKING:
    from sidestep_tui.ui.forms.cells import RowState
    from sidestep_tui.ui.forms.session import FormSession

KINDS: Final = ("group:", "level:", "from:", "is:")
"""What a word of the filter may begin with, besides being part of a name."""
STATES: Final = ("changed", "wrong", "advised", "grey")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the table: a setting, or the title of a group."""

    spec: FieldSpec | None
    group: str = ""


def matching(query: str, session: FormSession) -> list[FieldSpec]:
    """Settings that meet every word of the query.

    A plain word is looked for in names and paths, and where those do not have them all, in the help: such settings come
    last. Others ask about the setting as it stands: `group:optim`, `level:expert`, `from:preset`, `is:changed`.
    """
    words = query.casefold().split()
    asked = [word for word in words if word.startswith(KINDS)]
    plain = " ".join(word for word in words if not word.startswith(KINDS))
    named, explained = [], []
    for spec in all_fields():
        if not all(_is(word, spec, session) for word in asked):
            continue
        if words_in(plain, spec.meta.label, spec.path):
            named.append(spec)
        elif words_in(plain, spec.meta.label, spec.path, spec.help):
            explained.append(spec)
    return named + explained


def _is(word: str, spec: FieldSpec, session: FormSession) -> bool:
    kind, _, wanted = word.partition(":")
    if kind == "group":
        return spec.group.startswith(wanted)
    if kind == "level":
        return spec.meta.level.startswith(wanted)
    state = session.row(spec.path)
    if kind == "from":
        return state.origin.casefold().startswith(wanted)
    return any(_holds(name, state) for name in STATES if name.startswith(wanted))


def _holds(name: str, state: RowState) -> bool:
    match name:
        case "changed":
            return state.origin != "default"
        case "wrong":
            return bool(state.error) or (state.advice is not None and state.advice.severity == "error")
        case "advised":
            return state.advice is not None
        case _:
            return bool(state.inert)


def lines_of(specs: Sequence[FieldSpec]) -> list[Line]:
    """The settings with a title before each stretch of one group."""
    lines: list[Line] = []
    group = ""
    for spec in specs:
        if spec.group != group:
            group = spec.group
            lines.append(Line(None, group))
        lines.append(Line(spec))
    return lines


class Listing:
    """The lines, the bar on one setting, and the window that shows a stretch of lines."""

    def __init__(self) -> None:
        self.lines: Sequence[Line] = ()
        self.top = 0
        self._places: list[int] = []
        self._at = 0

    def show(self, specs: Sequence[FieldSpec]) -> None:
        """Other settings; the bar stays on its own where that is still shown, else goes to the first."""
        before = self.spec
        self.lines = lines_of(specs)
        self._places = [place for place, line in enumerate(self.lines) if line.spec is not None]
        self._at = 0
        if before is not None:
            self.go_to(before.path)

    @property
    def count(self) -> int:
        """How many settings are shown."""
        return len(self._places)

    @property
    def bar(self) -> int:
        """The line under the bar; -1 where no setting is shown."""
        return self._places[self._at] if self._places else -1

    @property
    def spec(self) -> FieldSpec | None:
        """The setting under the bar."""
        return self.lines[self.bar].spec if self._places else None

    def go_to(self, path: str) -> bool:
        """Put the bar on a setting; whether it is shown."""
        for at, place in enumerate(self._places):
            spec = self.lines[place].spec
            if spec is not None and spec.path == path:
                self._at = at
                return True
        return False

    def move(self, step: int) -> None:
        """So many settings on; no further than the ends."""
        self._at = max(0, min(self._at + step, len(self._places) - 1))

    def window(self, height: int) -> range:
        """The lines to show in `height` rows: around the bar, moved no more than needed, titles kept with the first."""
        if self.bar < self.top or self.bar == self._places_first():
            self.top = max(0, self.bar - 1)
        elif self.bar >= self.top + height:
            self.top = self.bar - height + 1
        self.top = max(0, min(self.top, len(self.lines) - height))
        return range(self.top, min(self.top + height, len(self.lines)))

    def _places_first(self) -> int:
        return self._places[0] if self._places else -1
