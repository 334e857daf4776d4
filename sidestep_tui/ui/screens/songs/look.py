"""The songs screen's keys that look closer: what the model reads, what is heard, what was left out, the file itself."""

from __future__ import annotations

import os
import shlex
import subprocess
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from textual import on
from textual.app import SuspendNotSupported
from textual.content import Content

from sidestep_tui.core import paths
from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset.manifest import Song
from sidestep_tui.ui.screens.songs import pages as songs_pages
from sidestep_tui.ui.screens.songs.jobs import Advanced, JobFailed, SongRead, SongsMeasured, reading_settings
from sidestep_tui.ui.screens.songs.writes import SongsWrites

if TYPE_CHECKING:
    from sidestep_tui.ui.app import SidestepApp
    from sidestep_tui.ui.dialogs.paper import Paper

LISTENING: Final = "listening"


class SongsLook(SongsWrites):
    """The part of the songs screen that looks closer."""

    app: SidestepApp
    _paper: Paper | None = None
    is_listening = False

    @on(Advanced)
    def _advanced(self, message: Advanced) -> None:
        # What a child said before it was stopped may arrive after.
        if self.is_listening or self.is_looking:
            self.busy = message.words
            self.repaint()

    @on(JobFailed)
    def _job_failed(self, message: JobFailed) -> None:
        self.busy, self.is_listening = "", False
        self.words_changed()
        self.app.tell(message.problem)

    # Tempo and key as heard

    def action_measure(self) -> None:
        """Hear tempo and key of the marked songs, or of the one under the bar; nothing is changed."""
        names = set(self.listing.not_measured(self.targets()))
        songs = [song for song in self.listing.songs if song.name in names]
        if not songs or self.manifest is None:
            self.say("these have been listened to: + takes over", "muted")
            return
        self.busy, self.is_listening = f"{LISTENING} 0 of {len(songs)}", True
        self.measure(self.manifest, songs)
        self.words_changed()

    @on(SongsMeasured)
    def _songs_measured(self, message: SongsMeasured) -> None:
        for name, heard in message.heard.items():
            self.listing.measured[name] = heard
        if message.is_last:
            self.busy, self.is_listening = "", False
            self.say("listened; + takes BPM and key over")
        self.words_changed()

    def stop_listening(self) -> bool:
        """Stop measuring, if that goes on; what has been heard stays."""
        if not self.is_listening:
            return False
        self.workers.cancel_group(self, "measure")
        self.busy, self.is_listening = "", False
        return True

    # What the model reads

    def action_reads(self) -> None:
        """What the model reads of the song, with pending edits; counted as soon as a tokenizer has."""
        from sidestep_tui.ui.dialogs.paper import Paper

        page = self._reading()
        if page is not None:
            self._paper = Paper(*page, turn=self._turn_page)
            self.app.push_screen(self._paper, self._paper_closed)

    def _reading(self) -> tuple[str, Content] | None:
        """Title and page of the song under the bar, not counted yet; a child is sent to count."""
        from sidestep_tui.dataset import reading

        song, manifest = self.listing.current, self.manifest
        if song is None or manifest is None:
            return None
        edited = replace(manifest, songs=self.session.songs if self.session is not None else manifest.songs)
        (plain,) = reading.read(edited, reading_settings(self.place), None, [song.name])
        waiting = "choose a checkpoint to count tokens"
        if self.place.model is not None:
            waiting = "counting tokens"
            self.read_song(edited, song, self.place)
        return _reads(song.name), songs_pages.reading_page(asdict(plain), self.glyphs, waiting=waiting)

    def _turn_page(self, step: int) -> None:
        self.listing.move(step)
        self.words_changed()
        page = self._reading()
        if page is not None and self._paper is not None:
            self._paper.show(*page)

    def _paper_closed(self, _: bool | None) -> None:
        self._paper = None

    @on(SongRead)
    def _song_read(self, message: SongRead) -> None:
        song = self.listing.current
        if self._paper is None or song is None or song.name != message.name:
            return
        if message.reading is not None:
            self._paper.show(_reads(song.name), songs_pages.reading_page(message.reading, self.glyphs))
        elif message.problem is not None:
            self.app.tell(message.problem)

    # Files

    def action_warnings(self) -> None:
        """What was left out of the scan and what could not be used."""
        from sidestep_tui.ui.dialogs.paper import Paper

        if self.manifest is not None:
            self.app.push_screen(Paper("Left out and remarked", songs_pages.warnings_page(self.manifest, self.glyphs)))

    def action_copy(self) -> None:
        """Put the song's path on the terminal's clipboard."""
        song = self.listing.current
        if song is not None:
            self.app.copy_to_clipboard(str(song.audio))
            self.say(f"copied {paths.shorten(song.audio)}", "muted")

    def action_open(self) -> None:
        """The song's sidecar in the person's own editor; afterwards the folder is looked at again."""
        song = self.listing.current
        if song is None:
            return
        file = sidecar_of(song, self.place.root)
        editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "")
        if file is None or not editor:
            self.say("no sidecar describes this song yet" if file is None else "set EDITOR to open files", "warn")
            return
        try:
            with self.app.suspend():
                subprocess.run([*editor, str(file)], check=False)
        except SuspendNotSupported:
            self.say("this terminal cannot give way to an editor", "warn")
            return
        except OSError as error:
            self.app.tell(DataError(f"{editor[0]} could not be started.", str(error), "Set EDITOR to your editor."))
        self.app.action_redraw()
        self.look()


def _reads(name: str) -> str:
    return f"What the model reads of {name}"


def sidecar_of(song: Song, root: Path) -> Path | None:
    """A file of this song's own that describes it, the one with the caption if there are several."""
    stem = song.audio.name.rpartition(".")[0]
    for field in ("caption", "lyrics", *song.origins):
        file = root / song.origins.get(field, "")
        if file.is_file() and file.name.startswith(stem):
            return file
    return None
