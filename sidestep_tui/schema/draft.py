"""What is half typed: the state behind the wizard, with undo and the origin of every value.

A draft is a stack of base layers (defaults, hardware, preset or run, command line) and, above them, raw text by
setting path. Text that does not parse yet stays as typed, with its error; everything below goes on working with the
base value meanwhile. Widgets hold no state of their own.
"""

from __future__ import annotations

import typing
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sidestep_tui.core import ids
from sidestep_tui.core.errors import SettingsError
from sidestep_tui.schema.fields import FieldSpec, fields_by_path
from sidestep_tui.schema.layers import (
    COMMAND_LINE,
    DEFAULT,
    HARDWARE,
    YOURS,
    Layer,
    Resolved,
    check_values,
    format_value,
    parse_value,
    resolve,
)
from sidestep_tui.schema.meta import Level
from sidestep_tui.schema.problems import Problem, known_field, refuse
from sidestep_tui.schema.settings import Settings

SCHEMA_VERSION = 1
_MOST_UNDO = 500

# What belongs to the person, the songs and the machine rather than to a recipe: another preset leaves it alone.
PERSONAL = frozenset(
    {
        "model.path",
        "model.variant",
        "model.components",
        "data.path",
        "data.tag",
        "data.tag_position",
        "data.txt_role",
        "data.language",
        "data.cache",
        "adapter.start_from",
        "memory.device",
        "output.path",
        "output.name",
    }
)


@dataclass(frozen=True, slots=True)
class Typed:
    """Raw text of one setting and who put it there: "yours", or the name of a fix or a profile."""

    text: str
    origin: str = YOURS


@dataclass(frozen=True, slots=True)
class _State:
    base: tuple[Layer, ...]
    typed: Mapping[str, Typed]
    touched: str = ""


class Draft:
    """A run in the making. `step`, `field` and `level` remember the position in the form, `notes` say what loading had
    to leave out, `version` counts changes, so that a viewer can tell that something is to be painted."""

    def __init__(self, layers: Iterable[Layer] = (), *, draft_id: str = "") -> None:
        self.id = draft_id or ids.short_id()
        self.step = ""
        self.field = ""
        self.level: Level = "basic"
        self.notes: list[str] = []
        self.version = 0
        self.stored_as = ""
        """Which writing of its file the draft was read from or last written as; empty while it was never stored."""
        self._undo: list[_State] = []
        self._redo: list[_State] = []
        self._enter(_State(tuple(layers), {}))

    # Reading

    def value(self, path: str) -> Any:
        """The value in force: as typed where that is valid, else from the base layers."""
        return self._now.value(path)

    def text(self, path: str) -> str:
        """What the form shows: the raw text as typed, or the base value written out."""
        typed = self._state.typed.get(path)
        return typed.text if typed is not None else format_value(known_field(path), self._below.value(path))

    def below(self, path: str) -> Any:
        """The value of the base layers: what a reset brings back."""
        return self._below.value(path)

    def error(self, path: str) -> str:
        """What is wrong with the text of one setting, or an empty string."""
        return self._errors.get(path, "")

    @property
    def errors(self) -> dict[str, str]:
        """Every setting whose text is not valid, in form order, with the sentence to show."""
        return {path: self._errors[path] for path in fields_by_path() if path in self._errors}

    def origin(self, path: str) -> str:
        """The layer that decides `path`: default, hardware, preset …, run …, command line, yours."""
        return self._state.typed[path].origin if path in self._state.typed else self._below.origins[path]

    def is_changed(self, path: str) -> bool:
        """Whether `path` was edited away from its base value, or holds text that is not valid yet."""
        return path in self._errors or self._now.value(path) != self._below.value(path)

    @property
    def changed(self) -> dict[str, tuple[Any, Any]]:
        """What differs from the preset (or run, or defaults) below: path → (base value, value in force)."""
        return {
            path: (self._below.value(path), self._now.value(path))
            for path in fields_by_path()
            if self._now.value(path) != self._below.value(path)
        }

    @property
    def edits(self) -> list[str]:
        """What was changed of the recipe: all that differs from the preset but checkpoint, songs and names."""
        return [path for path in self.changed if path not in PERSONAL]

    @property
    def base_name(self) -> str:
        """The origin that the draft starts from: `preset vram_12gb`, `run drums_v3`, or `default`."""
        named = [layer.name for layer in self._state.base if layer.name not in (HARDWARE, COMMAND_LINE)]
        return named[-1] if named else DEFAULT

    @property
    def settings(self) -> Settings:
        """The settings in force, with base values where the text is not valid: for estimates and advice."""
        return self._now.settings

    @property
    def sparse(self) -> dict[str, Any]:
        """What a preset saved from this draft holds: everything but defaults and personal settings."""
        return {
            path: value
            for path, value in self._now.values.items()
            if path not in PERSONAL and self._now.origins[path] not in (DEFAULT, HARDWARE)
        }

    def resolve(self) -> Resolved:
        """The settings and origins to start a run with; a SettingsError lists every text that is not valid."""
        refuse(Problem(path, sentence) for path, sentence in self.errors.items())
        return self._now

    # Changing

    def set(self, path: str, text: str) -> str:
        """Take `text` for `path` and return its error, or an empty string. Text equal to the base value is no edit."""
        spec = known_field(path)
        # A pasted lone surrogate cannot be written to the draft's file.
        text = _as_written(spec, text.encode("utf-8", "replace").decode("utf-8"))
        typed = dict(self._state.typed)
        typed[path] = Typed(text)
        try:
            if parse_value(spec, text) == self._below.value(path):
                del typed[path]
        except SettingsError:
            pass
        self._change(replace(self._state, typed=typed, touched=path))
        return self.error(path)

    def apply_values(self, values: Mapping[str, Any], *, origin: str = YOURS) -> None:
        """Set several values as one undoable edit: a fix from the advice, a VRAM profile."""
        good, problems = check_values(values, origin=origin)
        refuse(problems)
        typed = dict(self._state.typed)
        for path, value in good.items():
            if value == self._below.value(path):
                typed.pop(path, None)
            else:
                typed[path] = Typed(format_value(known_field(path), value), origin)
        self._change(replace(self._state, typed=typed, touched=next(iter(good), "")))

    def reset(self, path: str) -> None:
        """Drop what was typed for `path`: its base value is back."""
        known_field(path)
        typed = {key: value for key, value in self._state.typed.items() if key != path}
        self._change(replace(self._state, typed=typed, touched=path))

    def apply_layer(self, *layers: Layer, keep: Collection[str] = ()) -> None:
        """Start from another preset or run (lowest layer first): replaces the previous one and clears recipe edits.

        Personal settings (checkpoint, songs, tag, output) that were typed or came from the command line stay, and so
        do the edits of the settings in `keep`.
        """
        below = [layer for layer in self._state.base if layer.name == HARDWARE]
        above = [layer for layer in self._state.base if layer.name == COMMAND_LINE]
        kept = {path: typed for path, typed in self._state.typed.items() if path in PERSONAL or path in keep}
        self._change(_State((*below, *layers, *above), kept))

    def apply_hardware(self, layer: Layer) -> None:
        """Replace the hardware layer; not an edit, so undo does not bring the old one back."""
        others = tuple(item for item in self._state.base if item.name != HARDWARE)
        self._enter(replace(self._state, base=(layer, *others)))

    def undo(self) -> str | None:
        """Take back the last edit; returns the path it touched ("" for a preset), None when there is nothing."""
        if not self._undo:
            return None
        touched = self._state.touched
        self._redo.append(self._state)
        self._enter(self._with_hardware(self._undo.pop()))
        return touched

    def redo(self) -> str | None:
        """Do again what undo took back; returns the path it touched, None when there is nothing."""
        if not self._redo:
            return None
        self._undo.append(self._state)
        self._enter(self._with_hardware(self._redo.pop()))
        return self._state.touched

    # Storing

    def to_json(self) -> dict[str, Any]:
        """A JSON value that `from_json` turns into the same draft, without its undo history."""
        return {
            "schema_version": SCHEMA_VERSION,
            "id": self.id,
            "step": self.step,
            "field": self.field,
            "level": self.level,
            "base": [{"name": layer.name, "values": dict(layer.values)} for layer in self._state.base],
            "typed": {path: {"text": item.text, "origin": item.origin} for path, item in self._state.typed.items()},
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Draft:
        """A draft as stored. A setting that no longer exists is left out and named in `notes`.

        Raises a SettingsError when the value is no draft at all.
        """
        try:
            return cls._restored(stored)
        except (KeyError, TypeError, AttributeError) as error:
            raise SettingsError("The draft is damaged.", f"{type(error).__name__}: {error}", "Delete it.") from error

    @classmethod
    def _restored(cls, stored: Mapping[str, Any]) -> Draft:
        if stored["schema_version"] > SCHEMA_VERSION:
            raise SettingsError("The draft was saved by a newer release.", "", "Update sidestep-tui to open it.")
        notes: list[str] = []
        layers: list[Layer] = []
        for item in stored["base"]:
            good, problems = check_values(item["values"])
            notes.extend(f"Left out of {item['name']}: {problem.sentence}" for problem in problems)
            layers.append(Layer(str(item["name"]), good))
        draft = cls(layers, draft_id=str(stored["id"]))
        draft.notes = notes
        draft.step, draft.field = str(stored.get("step", "")), str(stored.get("field", ""))
        draft.level = next((level for level in typing.get_args(Level) if level == stored.get("level")), "basic")
        typed: dict[str, Typed] = {}
        for path, item in stored["typed"].items():
            if path in fields_by_path():
                typed[path] = Typed(_as_written(known_field(path), str(item["text"])), str(item["origin"]))
            else:
                notes.append(f"Left out: there is no setting '{path}' any more (it was '{item['text']}').")
        draft._enter(replace(draft._state, typed=typed))
        return draft

    # Inside

    def _change(self, state: _State) -> None:
        if state.base == self._state.base and state.typed == self._state.typed:
            return
        self._undo.append(self._state)
        del self._undo[:-_MOST_UNDO]
        self._redo.clear()
        self._enter(state)

    def _enter(self, state: _State) -> None:
        """Make `state` the current one and work out values and errors once, for all the reads that follow."""
        below = resolve(state.base)
        errors: dict[str, str] = {}
        above: dict[str, dict[str, Any]] = {}
        for path, typed in state.typed.items():
            try:
                above.setdefault(typed.origin, {})[path] = parse_value(known_field(path), typed.text)
            except SettingsError as error:
                errors[path] = error.title
        self._now = resolve([*state.base, *(Layer(name, values) for name, values in above.items())])
        self._state, self._below, self._errors = state, below, errors
        self.version += 1

    def _with_hardware(self, state: _State) -> _State:
        current = tuple(layer for layer in self._state.base if layer.name == HARDWARE)
        return replace(state, base=(*current, *(layer for layer in state.base if layer.name != HARDWARE)))


def _as_written(spec: FieldSpec, text: str) -> str:
    """Text of a choice in its own words (`false` of a switch that has more positions is `off`); other text as it is."""
    if spec.kind not in ("bool", "choice", "choices"):
        return text
    try:
        return format_value(spec, parse_value(spec, text))
    except SettingsError:
        return text
