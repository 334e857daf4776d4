"""The half of the slicer that writes: where to, the question before, and what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from textual import on, work
from textual.binding import Binding, BindingType

from sidestep_tui.core import paths, text
from sidestep_tui.core.errors import SidestepError
from sidestep_tui.dataset.cutting import slicing
from sidestep_tui.dataset.cutting.slicing_apart import IN_THE_WAY, STOPPED
from sidestep_tui.dataset.manifest import Song
from sidestep_tui.ui.dialogs.confirm import Choose, Confirm, Tell
from sidestep_tui.ui.dialogs.text import AskText
from sidestep_tui.ui.screens.slicer import rows as slicer_rows
from sidestep_tui.ui.screens.slicer.form import Form, folder_problem
from sidestep_tui.ui.screens.slicer.jobs import Sliced, SlicerJobs
from sidestep_tui.ui.widgets.rows import Row, row

if TYPE_CHECKING:
    from sidestep_tui.ui.app import SidestepApp


class SlicerWrites(SlicerJobs):
    """Folder, start, stop, and going on with what was begun."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("S", "slice", "Slice", id="slicer.slice", key_display="S", tooltip="Write the slices of all songs"),
        Binding("o", "folder", "Folder", id="slicer.folder", tooltip="Where the slices go"),
    ]

    app: SidestepApp
    form: Form
    notice: Row = ()
    """The sentence under the heading."""
    _total: tuple[object, slicing.Estimate] | None = None

    @property
    def songs(self) -> tuple[Song, ...]:
        """The songs of the folder."""
        raise NotImplementedError

    def show_notice(self) -> None:
        """The sentence under the heading has changed."""
        raise NotImplementedError

    def form_changed(self) -> None:
        """A setting has another value."""
        raise NotImplementedError

    def say(self, words: str, style: str = "accent") -> None:
        """Put a sentence under the heading."""
        self.notice = row((words, style)) if words else ()
        self.show_notice()

    @property
    def total(self) -> slicing.Estimate:
        """What slicing would make of all songs; counted once for each wish."""
        wish = self.form.wish
        if self._total is None or self._total[0] != (wish, self.songs):
            self._total = (wish, self.songs), slicing.estimate(self.songs, wish)
        return self._total[1]

    @work(group="questions", exclusive=True)
    async def action_folder(self) -> None:
        """Say where the slices go."""
        body = "A folder outside of the songs; it is made if need be."
        answer = await self.app.push_screen_wait(
            AskText(
                "Folder for the slices",
                body,
                value=str(self.form.folder),
                check=lambda words: folder_problem(self.place.root, words),
            )
        )
        if answer:
            self.form.folder = paths.expand(answer.strip()).absolute()
            self.form_changed()

    @work(group="questions", exclusive=True)
    async def action_slice(self) -> None:
        """Slice all songs, after a question."""
        self.form.settle()
        contradiction = self.form.contradiction(None)
        if contradiction is not None:
            self._tell(contradiction)
        elif not self.total.slices:
            self._tell(
                SidestepError(
                    "There is nothing to slice.",
                    f"No song is as long as {self.form.wish.cutting.seconds:g} s.",
                    "Make the slices shorter, or keep short tails, which takes short songs whole.",
                )
            )
        elif await self.app.push_screen_wait(
            Confirm("Slice the songs?", slicer_rows.question(self.total, self.form), "Slice")
        ):
            self._begin(resume=False)

    def _begin(self, *, resume: bool) -> None:
        self.notice = ()
        self.begin_slicing(self.form.folder, self.form.wish, resume=resume)
        self.repaint()

    @on(Sliced)
    @work(group="questions", exclusive=True)
    async def _sliced(self, message: Sliced) -> None:
        self.end_slicing()
        self.repaint()
        result = message.result
        if message.problem is not None:
            self._tell(message.problem)
        elif result is None:
            return
        elif result["state"] == IN_THE_WAY:
            await self._offer_resume(result)
        elif result["state"] == STOPPED:
            there = f"{result['slices']} of {text.plural(result['of'], 'slice')} are there" if result["of"] else ""
            self.say(f"Stopped. {there}; S goes on with them." if there else "Stopped before anything was written.")
        else:
            await self._offer_folder(result)

    async def _offer_resume(self, result: dict[str, Any]) -> None:
        """Slices of this very slicing are there: go on with it, if the person says so."""
        body = (
            f"{result['there']} of {text.plural(result['of'], 'slice')} in {paths.shorten(self.form.folder)} come from "
            "the same songs and settings. Going on leaves them alone and makes the missing ones."
        )
        if await self.app.push_screen_wait(Confirm("Go on with it?", body, "Go on")):
            self._begin(resume=True)

    async def _offer_folder(self, result: dict[str, Any]) -> None:
        """All is done: say what there is, and offer to look at it."""
        folder = self.form.folder
        answer = await self.app.push_screen_wait(
            Choose(
                "Sliced",
                slicer_rows.outcome_words(result, paths.shorten(folder)),
                [("stay", "n", "Stay"), ("open", "o", "Open as dataset")],
            )
        )
        if answer == "open":
            # What the caller may do with it is up to the caller; a screen of ours gives nothing otherwise.
            self.dismiss(folder)  # type: ignore[arg-type]
        else:
            self.say(f"{text.plural(result['slices'], 'slice')} in {paths.shorten(folder)}", "good")

    def _tell(self, error: SidestepError) -> None:
        plain = slicer_rows.without_options
        self.app.push_screen(Tell(error.title, plain(error.message), plain(error.hint)))
