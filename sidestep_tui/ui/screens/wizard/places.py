"""The pages where something on disk is chosen: the checkpoint and the songs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from textual.content import Content
from textual.widget import Widget

from sidestep_tui.core import paths, text
from sidestep_tui.core.errors import SidestepError
from sidestep_tui.ui.forms.rows import ActionRow
from sidestep_tui.ui.screens.wizard.page import Note, Page, RowList
from sidestep_tui.ui.theme import Glyphs

if TYPE_CHECKING:
    from sidestep_tui.dataset.manifest import Manifest
    from sidestep_tui.launch.models import FoundModel


_SONGS_HELP = (
    "Songs\nEvery song with what is said about it and what is missing: edit captions, lyrics, tempo and key, see what"
    " the model reads, find faults, cut slices. Nothing is written before you say so."
)


class ModelPage(Page):
    """The checkpoint, and those found on this machine."""

    _found: Sequence[FoundModel] | None = None

    def extras(self) -> Iterable[Widget]:
        yield Note(self._verdict, id="model-verdict", classes="gap")
        yield RowList("found on this machine", id="found-models")
        yield Note(self._nothing_found, id="nothing-found", classes="gap")

    def _verdict(self, width: int) -> Content:
        glyphs = self.glyphs
        if self.session.model_problem is not None:
            return refusal(self.session.model_problem, glyphs)
        model = self.session.model
        if model is None:
            return Content("")
        facts = f"{model.variant} {glyphs.separator} {model.size_name} {glyphs.separator} {model.layout} layout"
        return Content.assemble((f"{glyphs.ok} ", "$success"), f"{model.name}  ", (facts, "$muted"))

    def _nothing_found(self, width: int) -> Content:
        if self._found is None or self._found or self.session.draft.text("model.path"):
            return Content("")
        words = (
            "No checkpoint in ./checkpoints or among those used before: type or paste the path of one above; tab"
            " completes it.\nTo look around first, sidestep-tui demo makes a tiny model and songs of its own."
        )
        return Content.styled(words, "$muted")

    def show_found(self, models: Sequence[FoundModel], datasets: Sequence[Path]) -> None:
        """List checkpoints; accepting one fills in its path."""
        self._found = models
        rows = [self._found_row(model) for model in models]
        self.query_one("#found-models", RowList).fill(list(rows))
        self.query_one("#nothing-found", Note).update()

    def _found_row(self, model: FoundModel) -> ActionRow:
        def label(focused: bool, width: int) -> Content:
            glyphs = self.glyphs
            chosen = self.session.model is not None and self.session.model.path == model.path
            facts = f"{model.variant} {glyphs.separator} {model.size_name} {glyphs.separator} {model.layout}"
            return choice_line(
                glyphs,
                focused=focused,
                chosen=chosen,
                name=model.name,
                note=facts,
                tail=paths.shorten(model.path.parent),
            )

        return ActionRow(
            label,
            lambda: self.choose("model.path", model.path),
            help_text=f"{model.name}\n{model.path}. Enter chooses it and goes on.",
        )


class DatasetPage(Page):
    """The songs, what a look into the folder found, and folders used before."""

    def extras(self) -> Iterable[Widget]:
        yield Note(self._summary, id="data-summary", classes="gap")
        row = ActionRow(self._songs_label, self._open_songs, help_text=_SONGS_HELP, id="open-songs")
        row.display = self.session.manifest is not None
        yield row
        yield RowList("used before, or found here", id="recent-datasets")

    def update(self) -> None:
        """The door to the songs is there once there are songs."""
        row = self.query_one("#open-songs", ActionRow)
        if not row.has_focus:
            row.display = self.session.manifest is not None
        super().update()

    def _songs_label(self, focused: bool, width: int) -> Content:
        return Content.assemble(
            (f"{self.glyphs.focus} " if focused else "  ", "$primary"),
            (f"{self.glyphs.arrow} ", "$primary"),
            ("look at the songs", "bold" if focused else ""),
            ("   edit words, find faults, slice  (f10)", "$muted"),
        )

    def _open_songs(self) -> None:
        from sidestep_tui.ui.screens.wizard.jobs import WizardJobs

        screen = self.screen
        if isinstance(screen, WizardJobs):
            screen.open_songs()

    def _summary(self, width: int) -> Content:
        glyphs = self.glyphs
        if self.session.data_problem is not None:
            return refusal(self.session.data_problem, glyphs)
        if self.session.scan_progress is not None:
            done, total = self.session.scan_progress
            return Content.styled(f"{glyphs.todo} reading headers  {done} of {text.plural(total, 'file')}", "$muted")
        if self.session.manifest is None:
            return Content("")
        return Content("\n").join(manifest_lines(self.session.manifest, glyphs))

    def show_found(self, models: Sequence[FoundModel], datasets: Sequence[Path]) -> None:
        """List folders; accepting one fills in its path."""
        rows: list[Widget] = [self._recent_row(path) for path in datasets[:5]]
        self.query_one("#recent-datasets", RowList).fill(rows)

    def _recent_row(self, path: Path) -> ActionRow:
        def label(focused: bool, width: int) -> Content:
            glyphs = self.glyphs
            text = self.session.draft.text("data.path")
            chosen = bool(text) and paths.expand(text).absolute() == path.absolute()
            return choice_line(
                glyphs, focused=focused, chosen=chosen, name=path.name, note="", tail=paths.shorten(path.parent)
            )

        return ActionRow(
            label,
            lambda: self.choose("data.path", path),
            help_text=f"{path.name}\n{path}. Enter chooses it and goes on.",
        )


def choice_line(glyphs: Glyphs, *, focused: bool, chosen: bool, name: str, note: str, tail: str) -> Content:
    """A line of a list of choices: pointer, mark, name, facts, place."""
    return Content.assemble(
        (f"{glyphs.focus} " if focused else "  ", "$primary"),
        (f"{glyphs.on if chosen else glyphs.off} ", "$primary" if chosen else "$faint"),
        (f"{name:<26} ", "bold" if focused else ""),
        (f"{note:<22}", "$muted"),
        (tail, "$faint"),
    )


def refusal(error: SidestepError, glyphs: Glyphs) -> Content:
    """A problem and its remedy, beneath the field that has it."""
    lines = [Content.assemble((f"{glyphs.bad} {error.title}", "$error"))]
    lines += [Content.styled(f"  {part}", "$muted") for part in (error.message, error.hint) if part]
    return Content("\n").join(lines)


def manifest_lines(manifest: Manifest, glyphs: Glyphs) -> list[Content]:
    """What a folder holds: songs and minutes, where captions and lyrics come from, what was left out and why."""
    songs = manifest.songs
    lengths = [song.duration for song in songs]
    lines = [
        Content.assemble(
            (f"{glyphs.ok} ", "$success"),
            (text.plural(len(songs), "song"), "bold"),
            f"  {text.duration(manifest.seconds)}",
            (f"  from {text.duration(min(lengths))} to {text.duration(max(lengths))}", "$muted"),
        ),
        _sources("captions", Counter(_source(song.origins.get("caption")) for song in songs)),
        _sources("lyrics  ", Counter(_lyrics_source(song.origins, song.lyrics, song.instrumental) for song in songs)),
    ]
    tempo = sum(song.bpm is not None for song in songs)
    keys = sum(bool(song.keyscale) for song in songs)
    plain = "" if manifest.txt_role == "none" else f", name.txt holds {manifest.txt_role}"
    lines.append(_fact("also    ", f"BPM of {tempo}, key of {keys}{plain}"))
    for item in manifest.skipped[:4]:
        lines.append(Content.styled(f"{glyphs.warn} {item.path}: {item.reason}", "$warning"))
    if len(manifest.skipped) > 4:
        lines.append(Content.styled(f"  and {len(manifest.skipped) - 4} more left out", "$warning"))
    lines += [Content.styled(f"{glyphs.warn} {warning}", "$warning") for warning in manifest.warnings[:3]]
    return lines


def _fact(name: str, value: str) -> Content:
    return Content.assemble((f"  {name}  ", "$muted"), value)


def _sources(name: str, sources: Counter[str]) -> Content:
    return _fact(name, text.listing([f"{count} {source}" for source, count in sources.most_common()]))


def _source(origin: str | None) -> str:
    """The kind of place that a word came from: the end of a file's name, or what stands in for one."""
    if not origin:
        return "missing"
    parts = Path(origin).name.split(".")
    if len(parts) < 2:
        return "by file name" if origin == "file name" else origin
    return "." + ".".join(parts[-2:] if parts[-2] in ("caption", "lyrics") else parts[-1:])


def _lyrics_source(origins: dict[str, str], lyrics: str, instrumental: bool) -> str:
    if instrumental or not lyrics:
        return "instrumental"
    return _source(origins.get("lyrics"))
