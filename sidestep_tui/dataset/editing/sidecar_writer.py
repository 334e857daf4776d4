"""Working out which sidecars take edited fields, and how those files read then; nothing is written here.

A plan is read back before it is offered: every song must read as edited, and every other song as before. What would
read otherwise is put elsewhere if there is a place, and refused if there is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sidestep_tui.dataset import lyrics, merge
from sidestep_tui.dataset.editing import edit_values, own_file, rewriting
from sidestep_tui.dataset.editing.edit_plan import FieldChange, FileChange, Problem, SavePlan
from sidestep_tui.dataset.editing.fixes_slots import NotFixableError
from sidestep_tui.dataset.editing.rereading import Rereader, Scene, Snapshot
from sidestep_tui.dataset.editing.sidecar_document import Document
from sidestep_tui.dataset.editing.sidecar_places import Habits, Spot, sources, spots
from sidestep_tui.dataset.files import OWN_FILE
from sidestep_tui.dataset.layouts import Found
from sidestep_tui.dataset.sidecars import Fields
from sidestep_tui.dataset.tables import SongNames

Key = tuple[str, str]
"""Song and field."""
_SUNG: Final = frozenset({"lyrics", "instrumental"})
_COMPARED: Final = (*edit_values.FIELDS, "source")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Edits to be saved: canonical text by song and field, and review marks by song."""

    edits: dict[str, dict[str, str]]
    marks: dict[str, str]
    changes: dict[Key, FieldChange]


@dataclass(slots=True)
class _Edit:
    """A value and the places that may take it; a value that is cleared goes from all of its places."""

    song: str
    item: str
    value: str
    spots: list[Spot]
    reasons: list[str] = field(default_factory=list)

    @property
    def key(self) -> Key:
        return self.song, self.item

    @property
    def places(self) -> list[Spot]:
        return self.spots[:1] if self.value else self.spots


class Planner:
    """Finds places for edits until all that is left reads as it should."""

    def __init__(self, scene: Scene, wanted: Wanted) -> None:
        self.scene = scene
        self.wanted = wanted
        self.reader = Rereader(scene)
        self.before = self.reader.read()
        self.problems: dict[Key, str] = {}
        self.notes: list[str] = []
        self._following: set[str] = set()
        self._names = SongNames.of(self.reader.tree.root.as_posix(), map(scene.path_of, scene.songs))
        self._habits = Habits(self.reader, self.before)

    def plan(self) -> SavePlan:
        """The files to write."""
        edits = [edit for name, fields in self.wanted.edits.items() for edit in self._edits(name, fields)]
        while True:
            edits = [edit for edit in edits if edit.key not in self.problems]
            documents, retry = self._documents(edits)
            if not retry:
                retry = self._blamed(edits, documents)
            if not retry:
                break
            self._move_on(edits, retry)
        held: dict[str, list[FieldChange]] = {}
        for edit in edits:
            for spot in edit.places:
                held.setdefault(spot.origin, []).append(self.wanted.changes[edit.key])
        files = [
            _file(document, held[document.origin])
            for document in documents
            if document.after != (document.before or b"")
        ]
        for name in self._following:
            if (name, "lyrics") in self.problems:
                self._goes_with(name, "instrumental", "lyrics")
        problems = [Problem(*key, reason) for key, reason in self.problems.items()]
        self.notes += [note for edit in edits for note in self._notes(edit)]
        own, trouble = self._own_file()
        return SavePlan(
            (*sorted(files, key=lambda file: file.origin), *own),
            (*problems, *trouble),
            tuple(dict.fromkeys(self.notes)),
        )

    def _edits(self, name: str, fields: Mapping[str, str]) -> list[_Edit]:
        """The edits of a song that need a file; those that came true meanwhile, or follow from others, do not."""
        if name not in self.before.merged:
            self.problems.update({(name, item): f"{name}: the song is gone." for item in fields})
            return []
        now = edit_values.with_words(self.scene.songs[name], self.before.merged[name])
        found = []
        for item in sorted(fields, key=edit_values.FIELDS.index):
            value, shown = fields[item], edit_values.shown(now, item)
            said = sources(self.before, name, item)
            if shown != edit_values.shown(self.scene.songs[name], item):
                if shown != value:
                    text = f"'{shown[:40]}'" if shown else "not set"
                    self.problems[name, item] = f"{name}: {item} was changed elsewhere (it is {text} now)."
                continue
            if (
                item == "lyrics"
                and value == ""
                and fields.get("instrumental") == "no"
                and self._has_unused_lyrics(name)
            ):
                self.notes.append(f"{name}: its lyrics in {said[0]} are read again.")
                continue
            if not value:
                if said:
                    found.append(_Edit(name, item, "", [self._habits.spot(name, origin) for origin in said]))
                continue
            if item == "instrumental" and not said and self._follows(name, fields):
                self._following.add(name)
                continue
            found.append(_Edit(name, item, value, spots(self._habits, name, item)))
        return found

    def _has_unused_lyrics(self, name: str) -> bool:
        """Whether there are lyrics which only the statement that nothing is sung keeps from being read."""
        if not self.before.merged[name].instrumental:
            return False
        raw = [found.fields.get("lyrics") for found in self.before.found[name]]
        return any(isinstance(text, str) and lyrics.has_words(lyrics.clean(text)) for text in raw)

    def _follows(self, name: str, fields: Mapping[str, str]) -> bool:
        """Whether the lyrics alone already say whether the song is instrumental."""
        others = {item: value for item, value in fields.items() if item != "instrumental"}
        merged = self._expected(name, others)
        is_said = merged.origins.get("lyrics") not in (None, merge.NO_LYRICS)
        return is_said and edit_values.as_text(merged.instrumental) == fields["instrumental"]

    def _expected(self, name: str, fields: Mapping[str, str]) -> merge.Merged:
        """How a song must read once some fields are saved."""
        kept = [
            Found(found.origin, {item: value for item, value in found.fields.items() if item not in fields})
            for found in self.before.found[name]
        ]
        edited: Fields = {item: edit_values.as_value(item, value) for item, value in fields.items() if value}
        return merge.merge(
            self.scene.path_of(name),
            [Found(edit_values.EDITED, edited), *kept],
            wanted="auto",
            fallback="caption",
            language=self.scene.language,
        )

    def _documents(self, edits: list[_Edit]) -> tuple[list[Document], dict[Key, str]]:
        """The files with all edits in place, and the edits that found no place there, with the reason."""
        by_origin: dict[str, list[tuple[_Edit, Spot]]] = {}
        for edit in edits:
            for spot in edit.places:
                by_origin.setdefault(spot.origin, []).append((edit, spot))
        documents: list[Document] = []
        retry: dict[Key, str] = {}
        for origin, placed in by_origin.items():
            first, spot = placed[0]
            try:
                document = Document.open(self.scene.root, spot, self.scene.songs[first.song].audio)
            except (rewriting.RefusedError, OSError) as error:
                for edit, _ in placed:
                    self.problems[edit.key] = f"{origin} {rewriting.reason(error)}."
                    retry[edit.key] = ""
                continue
            except NotFixableError as error:
                retry.update({edit.key: f"{origin} {error}" for edit, _ in placed})
                continue
            if not document.before:
                others = [edit for edit, own in placed if own.form != document.form]
                retry.update({edit.key: f"{origin} is written in another form" for edit in others})
                placed = [pair for pair in placed if pair[0] not in others]
            wanted = {(self.scene.path_of(edit.song), edit.item): edit.value for edit, _ in placed}
            failed = document.put(wanted, self._names)
            for edit, _ in placed:
                if (key := (self.scene.path_of(edit.song), edit.item)) in failed:
                    retry[edit.key] = f"{origin} {failed[key]}"
            documents.append(document)
        return documents, retry

    def _blamed(self, edits: list[_Edit], documents: list[Document]) -> dict[Key, str]:
        """The edits after which some song would not read as it should."""
        if not documents:
            return {}
        after = self.reader.read({document.path: document.after for document in documents})
        by_song: dict[str, list[_Edit]] = {}
        for edit in edits:
            by_song.setdefault(edit.song, []).append(edit)
        retry: dict[Key, str] = {}
        for name, merged in after.merged.items():
            own = by_song.get(name, [])
            expected = (
                self._expected(name, {edit.item: edit.value for edit in own}) if own else self.before.merged[name]
            )
            wrong = [item for item in _COMPARED if getattr(merged, item) != getattr(expected, item)]
            if not wrong:
                continue
            guilty = [edit for edit in own if edit.item in wrong] or own or self._others(name, edits, after)
            for edit in guilty:
                origin = edit.places[0].origin
                retry[edit.key] = f"{origin} {self._why(edit, name, wrong[0], edits)}"
        return retry

    def _why(self, edit: _Edit, name: str, item: str, edits: list[_Edit]) -> str:
        """What is wrong with an edit, given that a field of a song would not read as it should."""
        if edit.song != name:
            return f"cannot take it, since {item} of {name} would read differently"
        place = edit.places[0]
        if place.form not in ("table", "samples"):
            for other in edits:
                if other.song != name and place.origin in (spot.origin for spot in other.places):
                    return f"describes {other.song} too, which would have to say the same"
        return "cannot take it: it would not be read from there"

    def _others(self, name: str, edits: list[_Edit], after: Snapshot) -> list[_Edit]:
        """The edits that have changed how a song reads which has none of its own."""
        origins = {found.origin for found in [*self.before.found[name], *after.found[name]]}
        return [edit for edit in edits if origins.intersection(spot.origin for spot in edit.places)] or edits

    def _move_on(self, edits: list[_Edit], retry: Mapping[Key, str]) -> None:
        """Give edits their next place, or give them up, and with them what would make no sense alone."""
        for edit in edits:
            if edit.key not in retry or edit.key in self.problems:
                continue
            edit.reasons.append(retry[edit.key])
            if edit.value:
                edit.spots = edit.spots[1:]
            if not edit.value or not edit.spots:
                reasons = "; ".join(dict.fromkeys(edit.reasons[:2]))
                self.problems[edit.key] = f"{edit.song}: {edit.item} was not saved. {reasons}."
        lost = {name: item for name, item in self.problems if item in _SUNG}
        for edit in edits:
            if edit.item in _SUNG and edit.song in lost and edit.key not in self.problems:
                self._goes_with(edit.song, edit.item, lost[edit.song])

    def _goes_with(self, name: str, item: str, lost: str) -> None:
        self.problems[name, item] = f"{name}: {item} goes with {lost}, which cannot be saved."

    def _notes(self, edit: _Edit) -> Iterable[str]:
        was = self.before.merged[edit.song]
        stood = was.origins.get(edit.item, "")
        if edit.reasons and stood in sources(self.before, edit.song, edit.item):
            yield f"{edit.song}: {edit.item} goes to {edit.spots[0].origin}, since {edit.reasons[0]}."
        elif (
            edit.value and (stood := was.origins.get(edit.item, "")).endswith(".lrc") and stood != edit.spots[0].origin
        ):
            yield f"{edit.song}: {stood} keeps its time stamps; the edited lyrics win over it."
        if edit.item == "lyrics" and edit.value and stood and edit.reasons == [] and self._has_unused_lyrics(edit.song):
            yield f"{edit.song}: lyrics in {edit.spots[0].origin} that were not read are replaced; the backup has them."
        if edit.item == "lyrics" and edit.value == lyrics.INSTRUMENTAL and lyrics.has_words(was.lyrics):
            yield f"{edit.song}: {lyrics.INSTRUMENTAL} takes the place of its lyrics, which stay in the backup."

    def _own_file(self) -> tuple[list[FileChange], list[Problem]]:
        """The file of review marks, if some are new."""
        if not self.wanted.marks:
            return [], []
        known = own_file.read(self.scene.root)
        after = own_file.encoded(known.with_marks(self.wanted.marks))
        changes = tuple(self.wanted.changes[name, "reviewed"] for name in self.wanted.marks)
        if known.problem and known.data is None:
            reason = f"{OWN_FILE} {known.problem}."
            return [], [Problem(change.song, change.field, reason) for change in changes]
        if known.problem:
            self.notes.append(f"{OWN_FILE} {known.problem}; it is set aside as a backup and begun anew.")
        path = self.scene.root / OWN_FILE
        if after == known.data:
            return [], []
        return [FileChange(path, OWN_FILE, known.data, after, 0o644, changes, keeps_backup=bool(known.problem))], []


def _file(document: Document, changes: list[FieldChange]) -> FileChange:
    return FileChange(
        path=document.path,
        origin=document.origin,
        before=document.before,
        after=document.after,
        mode=document.mode,
        changes=tuple(changes),
    )
