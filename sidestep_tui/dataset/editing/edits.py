"""Editing what is said about songs: edits wait, are checked and can be undone, until they are saved into sidecars.

Nothing here knows how a sidecar is written (see `sidecar_writer`), and no audio is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sidestep_tui.core import text as wording
from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset import archives, values
from sidestep_tui.dataset.captions import TagPosition
from sidestep_tui.dataset.editing import edit_files, edit_values, own_file, sidecar_writer
from sidestep_tui.dataset.editing.edit_plan import FieldChange, SavePlan, SaveReport
from sidestep_tui.dataset.editing.edit_values import FIELDS
from sidestep_tui.dataset.editing.rereading import Rereader, Scene
from sidestep_tui.dataset.manifest import Manifest, Song
from sidestep_tui.dataset.merge import SETTING
from sidestep_tui.dataset.sidecars import TxtSetting

__all__ = ["FIELDS", "REVIEWED", "EditSession", "FieldChange", "SavePlan", "SaveReport"]

REVIEWED: Final = "reviewed"
"""The mark that a person has read the words; stands among the fields of a `FieldChange`."""
_Key = tuple[str, str]
_Pending = dict[_Key, str]


@dataclass(slots=True)
class _Step:
    """Something that can be undone: what was pending before and after, and the files a save has written."""

    sentence: str
    before: _Pending
    after: _Pending
    files: list[edit_files.Swap] = field(default_factory=list)


class EditSession:
    """The songs of a manifest with edits that are not saved yet."""

    def __init__(self, manifest: Manifest, *, txt_role: TxtSetting | None = None, language: str | None = None) -> None:
        """`txt_role` and `language` are what the manifest was scanned with; left out, they are told from it."""
        self.root = manifest.root
        self._language = language or _language_of(manifest)
        self._txt_role = txt_role
        self._shown_role = manifest.txt_role
        self._base = {song.name: song for song in manifest.songs}
        self._marks = own_file.read(manifest.root).reviewed
        self._pending: _Pending = {}
        self._done: list[_Step] = []
        self._undone: list[_Step] = []
        self._current: dict[str, Song] = dict(self._base)
        self._fields: dict[str, dict[str, str]] = {}

    @property
    def songs(self) -> tuple[Song, ...]:
        """All songs with pending edits applied, in the order of the manifest."""
        return tuple(self._current.values())

    @property
    def can_undo(self) -> bool:
        """Whether `undo` would do something."""
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        """Whether `redo` would do something."""
        return bool(self._undone)

    @property
    def undo_writes(self) -> bool:
        """Whether `undo` would take a save back, which writes files."""
        return bool(self._done) and bool(self._done[-1].files)

    @property
    def redo_writes(self) -> bool:
        """Whether `redo` would write files again."""
        return bool(self._undone) and bool(self._undone[-1].files)

    def song(self, name: str) -> Song:
        """A song with pending edits applied."""
        if name not in self._current:
            raise DataError(f"There is no song '{name}'.", hint=wording.did_you_mean(name, self._current))
        return self._current[name]

    def value(self, name: str, field: str) -> str:
        """A field as text that a person would type; empty where nothing is said (a file name is no caption)."""
        pending = self._fields.get(name, {}).get(field)
        if pending is not None and not (field in ("instrumental", "repeats") and pending == ""):
            return pending
        return edit_values.shown(self.song(name), field)

    def edited(self, name: str) -> frozenset[str]:
        """The fields of a song with pending edits; `reviewed` among them."""
        return frozenset(self._fields.get(name, ()))

    def changes(self) -> list[FieldChange]:
        """All pending edits, in the order of songs and fields."""
        found = []
        for name in self._current:
            pending = self._fields.get(name, {})
            for item in (*FIELDS, REVIEWED):
                if item in pending:
                    found.append(FieldChange(name, item, self._before(name, item), self._after(name, item)))
        return found

    def set(self, names: Iterable[str], field: str, value: str) -> None:
        """Set a field of some songs; an empty value clears it. `DataError` says what is allowed, and nothing changes.

        What lyrics and the instrumental flag imply of each other is set with it. Instrumental songs have no language.
        """
        clean = edit_values.canonical(field, value)
        chosen = self._names(names)
        if field == "language" and clean:
            sung = [name for name in chosen if not self.song(name).instrumental]
            if chosen and not sung:
                raise DataError(
                    "Instrumental songs have no language.", hint="Add lyrics, or set instrumental to no, first."
                )
            chosen = sung
        what = f"set to {_quoted(clean)}" if clean else "cleared"
        self._edit(f"{field} of {self._said(chosen)} {what}", {(name, field): clean for name in chosen})

    def tag(self, names: Iterable[str], tag: str, position: TagPosition) -> None:
        """Put a trigger tag into captions; one that is there already is not said twice."""
        clean = edit_values.canonical("tag", tag)
        if not clean:
            raise DataError("There is no tag to put into the captions.", hint="Type a word that says nothing yet.")
        wanted = {}
        for name in self._names(names):
            before = self.value(name, "caption")
            after = edit_values.canonical("caption", edit_values.with_tag(before, clean, position))
            if after != before:
                wanted[name, "caption"] = after
        self._edit(f"tag {_quoted(clean)} in captions of {self._said([name for name, _ in wanted])}", wanted)

    def replace(self, names: Iterable[str], field: str, find: str, by: str) -> int:
        """Replace a text within a field of some songs, letter case counting; returns how many songs changed."""
        edit_values.check_field(field)
        if not find:
            raise DataError("There is nothing to look for.", hint="Type the text to be replaced.")
        wanted = {}
        for name in self._names(names):
            before = self.value(name, field)
            if find not in before:
                continue
            after = edit_values.canonical(field, before.replace(find, by))
            if after != before:
                wanted[name, field] = after
        self._edit(f"{_quoted(find)} in {field} of {self._said([name for name, _ in wanted])} replaced", wanted)
        return len(wanted)

    def review(self, names: Iterable[str], *, reviewed: bool) -> None:
        """Note that a person has read all words about some songs and found them right, or take that back."""
        chosen = self._names(names)
        marks = {(name, REVIEWED): own_file.digest(self.song(name)) if reviewed else "" for name in chosen}
        done = "marked" if reviewed else "no longer marked"
        self._edit(f"{self._said(chosen)} {done} as reviewed", marks)

    def is_reviewed(self, name: str) -> bool:
        """Whether a person has reviewed the words as they are now."""
        song = self.song(name)
        mark = self._pending.get((name, REVIEWED), self._marks.get(name, ""))
        return bool(mark) and mark == own_file.digest(song)

    def undo(self) -> str:
        """Take the last step back and say which; a save is taken back on disk too. Empty when there is none."""
        return self._travel(self._done, self._undone, "Undone", lambda step: step.before)

    def redo(self) -> str:
        """Do again what was undone last, and say what; empty when there is nothing."""
        return self._travel(self._undone, self._done, "Done again", lambda step: step.after)

    def plan(self) -> SavePlan:
        """The files that saving would write, what cannot be saved, and why; nothing is written."""
        if not self._pending:
            return SavePlan()
        archives.refuse_edits(self.root)
        return sidecar_writer.Planner(self._scene(), self._wanted()).plan()

    def save(self) -> SaveReport:
        """Write all pending edits into sidecars, with a backup of each file that is replaced.

        What cannot be saved is reported and stays pending; the rest is written all the same.
        """
        archives.refuse_edits(self.root)
        plan = self.plan()
        written, swaps, failed = edit_files.write(plan.files)
        before = dict(self._pending)
        unsaved = {(item.song, item.field) for item in plan.problems}
        unsaved |= {(item.song, item.field) for file in plan.files if file.origin in failed for item in file.changes}
        self._pending = {key: value for key, value in self._pending.items() if key in unsaved}
        self._read_again()
        if swaps:
            files = wording.plural(len(swaps), "file")
            self._done.append(_Step(f"saving of {files}", before, dict(self._pending), swaps))
            self._undone.clear()
        problems = dict.fromkeys([*(item.reason for item in plan.problems), *failed.values()])
        return SaveReport(tuple(written), tuple(problems), plan.notes)

    def _edit(self, sentence: str, wanted: Mapping[_Key, str]) -> None:
        """Make some values pending, with all they imply, as one step."""
        before = dict(self._pending)
        touched = set()
        for (name, item), value in wanted.items():
            also = {} if item == REVIEWED else edit_values.implied(self.song(name), item, value)
            for key, text in {item: value, **also}.items():
                self._put(name, key, text)
            touched.add(name)
        self._project(touched)
        silent = [
            name for name in touched if self._pending.get((name, "language")) and self._current[name].instrumental
        ]
        for name in silent:
            del self._pending[name, "language"]
        self._project(silent)
        if self._pending == before:
            return
        self._done.append(_Step(sentence, before, dict(self._pending)))
        self._undone.clear()

    def _forget_languages(self, names: Iterable[str]) -> None:
        """Songs that have become instrumental have no language to set."""
        silent = [name for name in names if self._pending.get((name, "language")) and self._current[name].instrumental]
        for name in silent:
            del self._pending[name, "language"]
        self._project(silent)

    def _put(self, name: str, item: str, value: str) -> None:
        if item == REVIEWED:
            is_settled = value == self._marks.get(name, "")
        else:
            is_settled = edit_values.is_settled(self._base[name], item, value)
        if is_settled:
            self._pending.pop((name, item), None)
        else:
            self._pending[name, item] = value

    def _project(self, names: Iterable[str]) -> None:
        """Apply what is pending to some songs."""
        for name in names:
            fields = {item: self._pending[name, item] for item in (*FIELDS, REVIEWED) if (name, item) in self._pending}
            self._fields[name] = fields
            edits = {item: value for item, value in fields.items() if item != REVIEWED}
            self._current[name] = edit_values.with_edits(self._base[name], self.root, edits, self._language)

    def _travel(self, source: list[_Step], other: list[_Step], verb: str, side: Callable[[_Step], _Pending]) -> str:
        if not source:
            return ""
        step = source.pop()
        problems: list[str] = []
        self._pending = dict(side(step))
        other.append(step)
        if step.files:
            step.files, problems = edit_files.take_back(step.files)
            self._read_again()
        else:
            self._project(self._base)
        return " ".join([f"{verb}: {step.sentence}.", *problems])

    def _wanted(self) -> sidecar_writer.Wanted:
        edits: dict[str, dict[str, str]] = {}
        marks: dict[str, str] = {}
        for (name, item), value in self._pending.items():
            if item == REVIEWED:
                marks[name] = value
            else:
                edits.setdefault(name, {})[item] = value
        return sidecar_writer.Wanted(edits, marks, {(item.song, item.field): item for item in self.changes()})

    def _scene(self) -> Scene:
        return Scene(self.root, self._base, self._language, self._txt_role, self._shown_role)

    def _read_again(self) -> None:
        """Take over what the files say after they were written; edits that they have come to hold are no longer due."""
        merged = Rereader(self._scene()).read().merged
        self._base = {
            name: edit_values.with_words(song, merged[name]) if name in merged else song
            for name, song in self._base.items()
        }
        self._marks = own_file.read(self.root).reviewed
        for (name, item), value in list(self._pending.items()):
            self._put(name, item, value)
        self._project(self._base)

    def _names(self, names: Iterable[str]) -> list[str]:
        return [self.song(name).name for name in dict.fromkeys([names] if isinstance(names, str) else names)]

    def _said(self, names: list[str]) -> str:
        return names[0] if len(names) == 1 else wording.plural(len(names), "song")

    def _before(self, name: str, item: str) -> str:
        if item != REVIEWED:
            return edit_values.shown(self._base[name], item)
        return edit_values.as_text(self._marks.get(name) == own_file.digest(self._base[name]))

    def _after(self, name: str, item: str) -> str:
        return edit_values.as_text(self.is_reviewed(name)) if item == REVIEWED else self._pending[name, item]


def _language_of(manifest: Manifest) -> str:
    """The language that the scan was told to give to lyrics which do not name their own."""
    return next(
        (song.language for song in manifest.songs if song.origins.get("language") == SETTING), values.UNKNOWN_LANGUAGE
    )


def _quoted(value: str) -> str:
    flat = " ".join(value.split())
    return f"'{flat if len(flat) <= 30 else flat[:29] + '…'}'"
