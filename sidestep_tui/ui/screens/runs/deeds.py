"""What the keys of the list of runs do: open, resume, copy, build on, compare, tidy and delete."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from textual import on, work
from textual.message import Message
from textual.screen import Screen

from sidestep_tui.core import paths, text
from sidestep_tui.core.env import TerminalFacts
from sidestep_tui.core.errors import RunError, SidestepError
from sidestep_tui.protocol import registry
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.ui.dialogs.one_of import Choice, OneOf
from sidestep_tui.ui.dialogs.text import AskText
from sidestep_tui.ui.dialogs.typed import TypeWord
from sidestep_tui.ui.screens.runs.entries import Entry

if TYPE_CHECKING:
    from sidestep_tui.schema.draft import Draft
    from sidestep_tui.ui.app import SidestepApp
    from sidestep_tui.ui.screens.runs.listing import Listing


class ResumeEnded(Message):
    """A resume has started its engine, or says why it could not."""

    def __init__(self, path: Path, error: SidestepError | None = None) -> None:
        super().__init__()
        self.path = path
        self.error = error


class RunDeeds(Screen[None]):
    """The actions of the list that do something with a run or a draft."""

    app: SidestepApp
    listing: Listing
    facts: TerminalFacts
    readonly: bool
    """Whether the keys that change a run are not there."""

    def say(self, words: str, style: str = "accent") -> None:
        """Put a sentence above the list."""
        raise NotImplementedError

    def look(self) -> object:
        """Look up runs and drafts."""
        raise NotImplementedError

    # Which of them can be done

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Grey what the line under the bar cannot do."""
        if self.readonly and action in _CHANGING:
            return False
        entry = self.listing.current
        able = _ABLE.get(action)
        if able is not None:
            return True if entry is not None and able(entry) else None
        if action == "compare":
            return True if len(self.compared()) > 1 else None
        return super().check_action(action, parameters)

    def compared(self) -> list[Entry]:
        """The runs to compare: the marked ones, and with a single mark the one under the bar too."""
        marked = [entry for entry in self.listing.marked if entry.run is not None]
        current = self.listing.current
        if len(marked) == 1 and current is not None and current.run is not None and current.key != marked[0].key:
            return [*marked, current]
        return marked

    # Opening

    def action_open(self) -> None:
        """Open the run's dashboard, or the draft in the wizard."""
        entry = self.listing.current
        if entry is None or not _can_open(entry):
            return
        if entry.run is not None:
            self.app.open_run(entry.path)
            return
        from sidestep_tui.schema import drafts

        try:
            self.app.new_run(drafts.load(entry.key))
        except SidestepError as error:
            self.app.tell(error)
            self.look()

    def action_new(self) -> None:
        """Make a new run."""
        self.app.new_run(None)

    @work(group="questions", exclusive=True)
    async def action_open_path(self) -> None:
        """Open a run by its folder, or list all runs of a folder from now on."""
        body = (
            "The folder of a run (it holds run.toml and events.jsonl), or a folder of runs: its runs are then listed."
        )
        answer = await self.app.push_screen_wait(AskText("Open a run or a folder", body, check=no_run_at))
        if not answer:
            return
        path = paths.expand(answer.strip())
        if path.is_dir() and not registry.is_run(path) and (found := registry.runs_in(path)):
            with suppress(OSError, SidestepError):
                registry.remember_folder(path)
            self.say(f"{text.plural(len(found), 'run')} of {paths.shorten(path)}, listed from now on")
            self.look()
            return
        run_dir = RunDir.open(path)
        self._remember(run_dir)
        self.app.open_run(run_dir.path)

    @work(thread=True, exit_on_error=False, group="remember")
    def _remember(self, run_dir: RunDir) -> None:
        """List the run from now on; a list that cannot be written is no reason not to look at the run."""
        with suppress(OSError, SidestepError):
            registry.register(run_dir)

    def action_copy_path(self) -> None:
        """Put the run's path on the terminal's clipboard."""
        entry = self.listing.current
        if entry is not None and entry.row is not None:
            self.app.copy_to_clipboard(str(entry.path.resolve()))
            self.say(f"copied {entry.path}", "muted")

    # Going on

    @work(group="questions", exclusive=True)
    async def action_resume(self) -> None:
        """Start the run's engine again; one that is done asks for how many epochs."""
        entry = self.listing.current
        if entry is None or not _can_resume(entry):
            return
        epochs = 0
        if entry.can_extend:
            from sidestep_tui.launch import extend

            run_dir = RunDir(entry.path)
            told = entry.run.epochs if entry.run else 0
            body = f"{entry.title} did its {text.plural(told, 'epoch')}. It goes on from its last checkpoint, and its"
            answer = await self.app.push_screen_wait(
                AskText(
                    "Resume for how many epochs in all",
                    f"{body} run.toml records the new number. The learning rate follows a schedule of that length.",
                    check=lambda typed: extend.check_epochs(run_dir, typed),
                )
            )
            if not answer:
                return
            epochs = int(answer)
        self.say(f"starting {entry.title} again…")
        self._resume(entry.path, epochs)

    @work(thread=True, exit_on_error=False, group="resume")
    def _resume(self, path: Path, epochs: int) -> None:
        # The launcher brings the schema and its readers (100 ms); only a resume needs it.
        from sidestep_tui.launch import extend, start

        run_dir = RunDir(path)
        try:
            if epochs:
                extend.change(run_dir, {"train.epochs": epochs})
            start.resume(run_dir)
        except SidestepError as error:
            self.post_message(ResumeEnded(path, error))
        except OSError as error:
            self.post_message(ResumeEnded(path, RunError("The engine could not be started.", str(error))))
        else:
            self.post_message(ResumeEnded(path))

    @on(ResumeEnded)
    def _resume_ended(self, message: ResumeEnded) -> None:
        self.say("")
        if message.error is not None:
            self.app.tell(message.error)
            return
        self.app.open_run(message.path)

    def action_duplicate(self) -> None:
        """A draft with the settings of the run or draft, in the wizard."""
        entry = self.listing.current
        if entry is None or not _can_copy(entry):
            return
        from sidestep_tui.launch import offspring

        try:
            if entry.kind == "draft":
                draft = offspring.duplicate_draft(entry.key)
            else:
                draft = offspring.draft_of_run(RunDir(entry.path))
        except SidestepError as error:
            self.app.tell(error)
            return
        self._open_draft(draft)

    @work(group="questions", exclusive=True)
    async def action_build_on(self) -> None:
        """A draft of a run that begins with an adapter of this one."""
        entry = self.listing.current
        if entry is None or entry.run is None:
            return
        from sidestep_tui.launch import offspring

        found = offspring.sources(RunDir(entry.path))
        if not found:
            self.say(f"{entry.title} has no adapter yet to begin with", "warn")
            return
        choices = [Choice(str(source.path), source.label, source.note) for source in found]
        chosen = await self.app.push_screen_wait(OneOf(f"Begin a new run with which adapter of {entry.title}", choices))
        if chosen is None:
            return
        try:
            draft = offspring.draft_on_adapter(RunDir(entry.path), Path(chosen))
        except SidestepError as error:
            self.app.tell(error)
            return
        self._open_draft(draft)

    def _open_draft(self, draft: Draft) -> None:
        from sidestep_tui.schema import drafts

        draft.step = "review"
        with suppress(OSError, SidestepError):
            drafts.save(draft, self._now())
        self.app.new_run(draft)

    def _now(self) -> float:
        raise NotImplementedError

    # Comparing

    def action_compare(self) -> None:
        """Curves and settings of the marked runs side by side."""
        chosen = self.compared()
        if len(chosen) < 2:
            self.say("mark two runs or more with space", "warn")
            return
        from sidestep_tui.ui.screens.compare.screen import CompareScreen

        self.app.push_screen(CompareScreen([entry.path for entry in chosen], clock=self._now, facts=self.facts))

    # Freeing disk

    @work(group="questions", exclusive=True)
    async def action_delete(self) -> None:
        """Delete the run or draft after its name was typed; forget a run that cannot be reached."""
        entry = self.listing.current
        if entry is None:
            return
        if entry.kind == "draft":
            await self._delete_draft(entry)
        elif entry.run is None:
            await self._forget(entry)
        else:
            await self._delete_run(entry)
        self.look()

    async def _delete_draft(self, entry: Entry) -> None:
        from sidestep_tui.schema import drafts

        body = f"{entry.title}\n\nThe draft goes for good; runs that were started from it stay."
        if await self.app.push_screen_wait(TypeWord("Delete a draft", body, "delete")):
            drafts.delete(entry.key)
            self.say("draft deleted", "muted")

    async def _forget(self, entry: Entry) -> None:
        body = (
            f"{paths.shorten(entry.path)} is not reachable.\n\nIt is left out of the list; its files stay as they are."
        )
        if await self.app.push_screen_wait(TypeWord("Forget a run", body, "forget")):
            registry.forget(RunDir(entry.path))
            self.say(f"{entry.title} is no longer listed", "muted")

    async def _delete_run(self, entry: Entry) -> None:
        from sidestep_tui.launch import removal

        try:
            plan = removal.plan(RunDir(entry.path))
            body = f"{paths.shorten(entry.path)}\n\n{plan.sentence}"
            if not await self.app.push_screen_wait(TypeWord("Delete a run", body, entry.title)):
                return
            left = removal.delete(plan)
            self.app.forget_run(entry.path)
        except SidestepError as error:
            self.app.tell(error)
        except OSError as error:
            self.app.tell(RunError("The run could not be deleted as a whole.", str(error), "Try again."))
        else:
            stays = f"; {text.plural(len(left), 'file')} that we did not write stay in {paths.shorten(entry.path)}"
            self.say(f"{entry.title} deleted{stays if left else ''}", "muted")

    @work(group="questions", exclusive=True)
    async def action_tidy(self) -> None:
        """Free disk: of this run, of the marked ones, or in the caches."""
        from sidestep_tui.ui.screens.runs.tidying import tidy

        words = await tidy(self.app, self._tidied(), self.listing.entries)
        if words:
            self.say(words, "muted")
            self.look()

    def _tidied(self) -> Sequence[Entry]:
        """The runs to tidy: the marked ones, else the one under the bar."""
        current = self.listing.current
        chosen = self.listing.marked or ([current] if current is not None else [])
        return [entry for entry in chosen if entry.run is not None]


def _can_open(entry: Entry) -> bool:
    return entry.kind == "draft" or entry.run is not None


def _can_copy(entry: Entry) -> bool:
    return entry.kind == "draft" or entry.run is not None


def _can_resume(entry: Entry) -> bool:
    return entry.can_resume or entry.can_extend


_CHANGING = frozenset({"resume", "tidy", "delete"})
_ABLE: dict[str, Callable[[Entry], bool]] = {
    "open": _can_open,
    "resume": _can_resume,
    "duplicate": _can_copy,
    "build_on": lambda entry: entry.run is not None,
    "copy_path": lambda entry: entry.row is not None,
    "delete": lambda entry: not entry.is_alive,
}


def no_run_at(answer: str) -> str:
    """Why there is no run at a path, nor a folder of runs; empty if there is one."""
    if not answer.strip():
        return "Type the path of a folder."
    path = paths.expand(answer.strip())
    try:
        if path.is_dir() and not registry.is_run(path) and registry.runs_in(path):
            return ""
        RunDir.open(path)
    except SidestepError as error:
        return f"{error.title} {error.message}"
    except OSError as error:
        return f"{answer}: {error.strerror}."
    return ""
