"""Which presets are listed, in what groups, and where the bar stands. Pure but for `look`, which reads the files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sidestep_tui.core.errors import SettingsError
from sidestep_tui.schema import layers, presets
from sidestep_tui.schema.adapter_maths import size_words
from sidestep_tui.schema.fields import fields_by_path
from sidestep_tui.schema.presets import Preset
from sidestep_tui.ui.dialogs.pick import words_in

YOURS: Final = "Yours"
PROJECT: Final = "This folder's"
SHIPPED: Final = "Shipped"
OPENED: Final = "Opened by path"

_NOTE = re.compile(r"#\s*([A-Z][a-z]+(?: [a-z]+)?):\s+(.*)")
_WORDY: Final = frozenset({"choice", "choices"})


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the list: a preset, or a file that should be one and why it is not. `notes` are what its comment
    says, as (word, text) pairs: when it is for, where it is from, what was changed."""

    path: Path
    name: str
    group: str
    """The heading that it stands under."""
    preset: Preset | None
    problem: SettingsError | None = field(default=None, compare=False)
    notes: tuple[tuple[str, str], ...] = ()
    kind: str = ""
    """Its adapter in a word or two: `lora 64`."""

    @property
    def key(self) -> str:
        """What tells items apart."""
        return str(self.path)

    @property
    def is_own(self) -> bool:
        """Whether the person may rename and delete it here."""
        return self.group in (YOURS, PROJECT)

    @property
    def is_shipped(self) -> bool:
        """Whether it comes with the product."""
        return self.group not in (YOURS, PROJECT, OPENED)

    def note(self, word: str) -> str:
        """What the file's comment says under a word, or an empty string."""
        return next((text for known, text in self.notes if known == word), "")


@dataclass(frozen=True, slots=True)
class Heading:
    """The first line of a group; `note` says what an empty one is for."""

    group: str
    note: str = ""


Line = Heading | Item


def look(opened: Iterable[Path] = ()) -> list[Item]:
    """Every preset there is, also those that cannot be used, and the files opened by path; group by group."""
    found = [_item(preset.path, preset) for preset in presets.list_presets()]
    found += [_item(path, None, error) for path, error in presets.broken_presets()]
    listed = {item.path for item in found}
    found += [read(path) for path in opened if path not in listed]
    order = {YOURS: 0, PROJECT: 1, OPENED: 3}
    found.sort(key=lambda item: order.get(item.group, 2))
    return found


def read(path: Path) -> Item:
    """The file or run folder at a path, as an item of the group of those."""
    try:
        return _item(path, presets.read(path, source="file"))
    except SettingsError as error:
        return _item(path, None, error)


def _item(path: Path, preset: Preset | None, problem: SettingsError | None = None) -> Item:
    name = preset.name if preset is not None else path.stem
    return Item(path, name, _group_of(path, preset), preset, problem, notes_of(path), _kind(preset))


def _kind(preset: Preset | None) -> str:
    if preset is None:
        return ""
    adapter = layers.resolve(preset.layers()).settings.adapter
    return f"{adapter.kind} {size_words(adapter).removeprefix('rank ').removesuffix(' matrices')}"


def _group_of(path: Path, preset: Preset | None) -> str:
    if preset is not None and preset.source == "file":
        return OPENED
    source = next((source for folder, source in presets.places() if path.parent == folder), "file")
    if source == "shipped":
        return (preset.group if preset is not None else "") or SHIPPED
    return {"user": YOURS, "project": PROJECT}.get(source, OPENED)


def notes_of(path: Path) -> tuple[tuple[str, str], ...]:
    """The `# Word: text` lines at the head of a file, with the lines that go on below them."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return ()
    notes: list[tuple[str, str]] = []
    for line in lines:
        if not line.startswith("#"):
            break
        begun = _NOTE.fullmatch(line.rstrip())
        words = line.lstrip("#").strip()
        if begun:
            notes.append((begun[1], begun[2]))
        elif notes and words:
            notes[-1] = (notes[-1][0], f"{notes[-1][1]} {words}")
        elif words:
            notes.append(("", words))
    return tuple(notes)


class Listing:
    """The state of the list."""

    def __init__(self) -> None:
        self.items: Sequence[Item] = ()
        self.query = ""
        self.against = ""
        """The key of the preset that the others are compared with; empty for the draft."""
        self.top = 0
        self._current = ""
        self._at = 0

    def put(self, items: Sequence[Item]) -> None:
        """List these; the bar stays where its item still is."""
        self.items = items

    @property
    def shown(self) -> list[Item]:
        """The items that match the filter: those by name first within their groups."""
        if not self.query.strip():
            return list(self.items)
        found = [item for item in self.items if words_in(self.query, haystack(item))]
        order = list(dict.fromkeys(item.group for item in found))
        found.sort(key=lambda item: (order.index(item.group), not words_in(self.query, item.name)))
        return found

    @property
    def index(self) -> int:
        """Where the bar stands among the shown items."""
        shown = self.shown
        found = next((at for at, item in enumerate(shown) if item.key == self._current), None)
        self._at = max(0, min(self._at, len(shown) - 1)) if found is None else found
        return self._at

    @property
    def current(self) -> Item | None:
        """The item under the bar."""
        shown = self.shown
        return shown[self.index] if shown else None

    @property
    def compared(self) -> Item | None:
        """The preset that the others are compared with; None for the draft."""
        return next((item for item in self.items if item.key == self.against and item.preset is not None), None)

    def move(self, by: int) -> None:
        """Move the bar, as far as there are items."""
        shown = self.shown
        if shown:
            self._current = shown[max(0, min(self.index + by, len(shown) - 1))].key

    def go_to(self, key: str) -> None:
        """Put the bar on an item."""
        self._current = key

    def go_to_name(self, name: str) -> None:
        """Put the bar on the first preset of that name, if there is one."""
        self._current = next((item.key for item in self.items if item.name == name), self._current)

    def window(self, height: int) -> list[Line]:
        """The lines that fit in `height` rows, with the bar among them; moves as little as it can."""
        lines, height = self._lines(), max(height, 1)
        current = self.current
        at = lines.index(current) if current is not None else 0
        if current is not None:
            self._current = current.key
        first = at - 1 if at and isinstance(lines[at - 1], Heading) else at
        self.top = min(max(self.top, at - height + 1, 0), first, max(len(lines) - height, 0))
        return lines[self.top : self.top + height]

    def item_at(self, y: int) -> Item | None:
        """The item in a line of the window."""
        lines = self._lines()[self.top :]
        found = lines[y] if 0 <= y < len(lines) else None
        return found if isinstance(found, Item) else None

    def _lines(self) -> list[Line]:
        shown = self.shown
        lines: list[Line] = []
        if not self.query and not any(item.group == YOURS for item in shown):
            lines.append(Heading(YOURS, "none yet: s saves one"))
        for group in dict.fromkeys(item.group for item in shown):
            lines += [Heading(group), *(item for item in shown if item.group == group)]
        return lines


def haystack(item: Item) -> str:
    """What a filter looks in: name, description, comment, and the values that are words."""
    parts = [
        item.name,
        item.group,
        "shipped" if item.is_shipped else "",
        *(f"{word} {text}" for word, text in item.notes),
    ]
    if item.preset is None:
        return " ".join([*parts, "broken"])
    parts += [item.preset.description, item.preset.provenance.source]
    specs = fields_by_path()
    parts += [specs[path].write(value) for path, value in item.preset.values.items() if specs[path].kind in _WORDY]
    return " ".join(parts)
