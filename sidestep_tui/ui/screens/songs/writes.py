"""Where the songs screen meets the files: writing, taking back what was written, leaving, and looking again.

Edits that are not written are never lost without a yes: a new look at the folder carries them over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from textual import on, work
from textual.screen import Screen
from textual.timer import Timer

from sidestep_tui.core import text
from sidestep_tui.core.errors import SidestepError
from sidestep_tui.ui.dialogs.confirm import Choose, Confirm, Tell
from sidestep_tui.ui.screens.songs import kept as songs_kept
from sidestep_tui.ui.screens.songs import pages as songs_pages
from sidestep_tui.ui.screens.songs.edits import SongsEdits
from sidestep_tui.ui.screens.songs.jobs import ResultT, ScanFailed, Scanned

if TYPE_CHECKING:
    from sidestep_tui.dataset.editing.edits import EditSession, FieldChange
    from sidestep_tui.dataset.manifest import Manifest
    from sidestep_tui.dataset.sidecars import TxtSetting
    from sidestep_tui.ui.app import SidestepApp

_KEEP_DELAY: Final = 0.5
_REVIEWED: Final = "reviewed"
_ROLES: Final[tuple[TxtSetting, ...]] = ("auto", "caption", "lyrics")


class SongsWrites(SongsEdits):
    """The part of the songs screen that reads and writes files."""

    app: SidestepApp
    manifest: Manifest | None
    problem: SidestepError | None
    busy: str
    is_looking = False
    """Whether the folder is being scanned: what is known of its files may be old."""
    writing = False
    """Whether a thread is at the files: until it is done, nothing else begins."""
    _visiting = False
    _keep_timer: Timer | None = None
    # What was pending before and after each save, so that undoing or redoing one, which writes files, asks first.
    _saves: list[tuple[list[FieldChange], list[FieldChange]]]

    @property
    def changes(self) -> list[FieldChange]:
        """The edits that are not written."""
        return self.session.changes() if self.session is not None else []

    # Looking

    def look(self) -> None:
        """Look at the folder, again or for the first time."""
        self.busy, self.is_looking = "looking at the folder", True
        self.words_changed()
        self.scan(self.place)

    def action_look(self) -> None:
        """Look again."""
        self.look()

    @on(Scanned)
    def _scanned(self, message: Scanned) -> None:
        is_first = self.session is None
        kept = songs_kept.kept(self.place.root) if is_first else self.changes
        self.manifest, self.session, self.problem, self.busy = message.manifest, message.session, None, ""
        self._saves, self.is_looking = [], False
        lost = carry_over(message.session, kept) if kept else []
        self.words_changed()
        if lost:
            self.app.push_screen(
                Tell(
                    "Some edits could not be kept",
                    text.listing([f"{item.field} of {item.song}" for item in lost], most=8),
                    "Their songs are gone, or no longer take them.",
                )
            )
        elif kept and is_first:
            self.say(f"{text.plural(len(kept), 'edit')} of the last time not written yet: W writes, u takes back")
        elif kept:
            self.say(f"looked again; {text.plural(len(kept), 'edit')} still to be written")

    @on(ScanFailed)
    def _scan_failed(self, message: ScanFailed) -> None:
        """The edits made so far stay; the table too."""
        self.problem, self.busy, self.is_looking = message.problem, "", False
        self.words_changed()
        if self.session is not None:
            self.app.push_screen(Tell(message.problem.title, message.problem.message, message.problem.hint))

    @work(group="dialog", exclusive=True)
    async def action_flip_txt(self) -> None:
        """`name.txt` holds captions, lyrics, or whatever its content says; noted in the folder for later."""
        from dataclasses import replace

        from sidestep_tui.dataset.editing import own_file

        role = _ROLES[(_ROLES.index(self.place.txt_role) + 1) % len(_ROLES)]
        root = self.place.root

        def note() -> str | SidestepError:
            try:
                return own_file.save_role(root, None if role == "auto" else role)
            except SidestepError as error:
                return error

        noted = await self.on_thread(note)
        if isinstance(noted, SidestepError):
            self.app.push_screen(Tell(noted.title, noted.message, noted.hint))
        self.place = replace(self.place, txt_role=role)
        self.say(f"name.txt holds: {role}")
        self.look()

    # Writing

    @work(group="dialog", exclusive=True)
    async def action_write(self) -> None:
        """Show what would be written; enter writes it."""
        await self._write()

    async def _write(self) -> bool:
        """Whether nothing is left to write."""
        from sidestep_tui.ui.dialogs.paper import Paper

        session = self.session
        if session is None or not self.changes:
            return True
        self.busy = "working out which files change"
        self.words_changed()
        plan = await self.on_thread(session.plan)
        self.busy = ""
        self.words_changed()
        if plan is None:
            return False
        page = Paper("Write", songs_pages.plan_page(plan, self.glyphs), yes_label="Write" if plan.files else "")
        if not await self.app.push_screen_wait(page):
            return False
        before = self.changes
        report = await self._at_the_files(session.save)
        if report is None:
            return False
        if report.written:
            self._saves.append((before, self.changes))
        self.say(songs_pages.report_words(report), "warn" if report.problems else "good")
        if report.problems:
            self.app.push_screen(
                Tell(
                    "Not everything could be written", "\n".join(report.problems[:8]), "These edits are still pending."
                )
            )
        return not self.changes

    async def _at_the_files(self, function: Callable[[], ResultT]) -> ResultT | None:
        """Let a thread write; the keys wait for it."""
        self.writing = True
        self.words_changed()
        try:
            return await self.on_thread(function)
        finally:
            self.writing = False
            self.words_changed()

    # Taking back

    @work(group="dialog", exclusive=True)
    async def action_undo(self) -> None:
        """Take the last step back; asks where that writes files."""
        session = self.session
        if session is None or not session.can_undo:
            self.say("nothing to take back", "muted")
            return
        present = self.changes
        writes = any(after == present for _, after in self._saves)
        await self._travel(session.undo, "Take the last save back", ask=writes)

    @work(group="dialog", exclusive=True)
    async def action_redo(self) -> None:
        """Do again what was taken back."""
        session = self.session
        if session is None or not session.can_redo:
            self.say("nothing to do again", "muted")
            return
        present = self.changes
        writes = any(before == present for before, _ in self._saves)
        await self._travel(session.redo, "Write again what was taken back", ask=writes)

    async def _travel(self, travel: Callable[[], str], question: str, *, ask: bool) -> None:
        if ask:
            body = "This may write the former words into the files again. Backups of what stands there now are kept."
            if not await self.app.push_screen_wait(Confirm(question, body, "Do it")):
                return
        said = await self._at_the_files(travel)
        if said:
            self.say(said[:1].lower() + said[1:])

    # Other screens on the same songs

    @work(group="dialog", exclusive=True)
    async def action_doctor(self) -> None:
        """Look for faults in the folder."""
        from sidestep_tui.ui.screens.doctor.screen import DoctorScreen

        if await self._files_are_current("doctor"):
            self._visit(DoctorScreen(self.place))

    @work(group="dialog", exclusive=True)
    async def action_slicer(self) -> None:
        """Cut songs into slices of equal length."""
        from sidestep_tui.ui.screens.slicer.screen import SlicerScreen

        if await self._files_are_current("slicer"):
            self._visit(SlicerScreen(self.place), self._open_slices)

    def _open_slices(self, folder: Path | None) -> None:
        """The slicer closed; with a folder where its slices are to be looked at next."""
        if folder is not None:
            self.app.open_songs(replace(self.place, root=folder))

    async def _files_are_current(self, who: str) -> bool:
        """Whether to go on: the other screens read the files, which do not have the pending edits yet."""
        body = f"The {who} reads the files, which do not have them yet. They stay pending meanwhile."
        return await self._settled(body, "Write first", ("go", "g", "Go on")) != "stay"

    async def _settled(self, body: str, write: str, other: tuple[str, str, str]) -> str:
        """What becomes of edits that are not written: `written` (or none were there), the other choice, or `stay`."""
        edits = len(self.changes)
        if not edits:
            return "written"
        choices = [("stay", "n", "Stay"), ("write", "W", write), other]
        answer = await self.app.push_screen_wait(Choose(f"{text.plural(edits, 'edit')} not written", body, choices))
        if answer == "write":
            return "written" if await self._write() else "stay"
        return other[0] if answer == other[0] else "stay"

    def _visit(self, screen: Screen[Any], closed: Callable[[Any], None] | None = None) -> None:
        self._visiting = True
        self.app.push_screen(screen, closed)

    def come_back(self) -> None:
        """After another screen has been on these songs, look at the folder again."""
        if self._visiting:
            self._visiting = False
            self.look()

    # Leaving

    async def may_leave(self) -> bool:
        """Whether nothing would be lost by leaving, or the person said that it may."""
        body = f"They are in {self.place.root.name} only once they are written."
        outcome = await self._settled(body, "Write", ("discard", "D", "Discard"))
        if outcome == "discard":
            self._forget_kept()
        return outcome != "stay"

    # What outlives a dropped line

    def keep_soon(self) -> None:
        """Remember the pending edits a moment after the last one."""
        if self._keep_timer is not None:
            self._keep_timer.stop()
        self._keep_timer = self.set_timer(_KEEP_DELAY, self.keep_now)

    def keep_now(self) -> None:
        """Remember the pending edits."""
        if self._keep_timer is not None and self.session is not None:
            self._keep_timer.stop()
            self._keep_timer = None
            songs_kept.keep(self.place.root, self.changes)

    def _forget_kept(self) -> None:
        if self._keep_timer is not None:
            self._keep_timer.stop()
            self._keep_timer = None
        songs_kept.keep(self.place.root, ())

    def on_unmount(self) -> None:
        """On the way out, whatever the way."""
        self.keep_now()


def carry_over(session: EditSession, kept: Sequence[FieldChange]) -> list[FieldChange]:
    """Make edits pending again in a new session of the same folder; returns those that it would not take."""
    groups: dict[tuple[str, str], list[FieldChange]] = {}
    for item in kept:
        groups.setdefault((item.field, item.after), []).append(item)
    present = {song.name for song in session.songs}
    lost = []
    # The flag first, since lyrics and language depend on it; marks last, since they stand for the words as they are.
    order = {"instrumental": 0, _REVIEWED: 2}
    for (field, after), items in sorted(groups.items(), key=lambda group: order.get(group[0][0], 1)):
        names = [item.song for item in items if item.song in present]
        lost += [item for item in items if item.song not in present]
        try:
            if field == _REVIEWED:
                session.review(names, reviewed=after == "yes")
            elif names:
                session.set(names, field, after)
        except SidestepError:
            lost += [item for item in items if item.song in present]
    return lost
