"""What the keys of the browser of presets do to a draft and to preset files. Each asks before anything is lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from textual import work

from sidestep_tui.core import paths, text
from sidestep_tui.core.errors import SidestepError
from sidestep_tui.schema import presets
from sidestep_tui.schema.layers import Layer
from sidestep_tui.ui.dialogs.confirm import Choose, Tell
from sidestep_tui.ui.dialogs.paper import Paper
from sidestep_tui.ui.dialogs.text import AskText
from sidestep_tui.ui.dialogs.typed import TypeWord
from sidestep_tui.ui.screens.presets import papers
from sidestep_tui.ui.screens.presets.effect import Bench, Change, Effect, effect_of
from sidestep_tui.ui.screens.presets.jobs import PresetsJobs
from sidestep_tui.ui.screens.presets.listing import OPENED, Item, Listing
from sidestep_tui.ui.screens.presets.saving import save_draft

if TYPE_CHECKING:
    from sidestep_tui.ui.app import SidestepApp
    from sidestep_tui.ui.forms.session import FormSession

_MOST_LISTED = 8


class PresetsActions(PresetsJobs):
    """The part of the browser that changes something."""

    app: SidestepApp
    listing: Listing
    opened: list[Path]

    @property
    def session(self) -> FormSession:
        """What holds the draft, and knows the machine."""
        raise NotImplementedError

    def bench(self) -> Bench:
        """What presets are tried on now."""
        raise NotImplementedError

    def repaint(self) -> None:
        """Show everything as it is now."""
        raise NotImplementedError

    def say(self, words: str, style: str = "accent") -> None:
        """Put a sentence above the list."""
        raise NotImplementedError

    # The draft

    @work(group="dialog", exclusive=True)
    async def apply(self, item: Item) -> None:
        """Start the draft from a preset; asks what becomes of the person's own edits."""
        preset = item.preset
        if preset is None:
            self._refuse(item)
            return
        await self.start_from(preset.name, preset.layers())

    async def start_from(self, name: str, layers: Sequence[Layer]) -> None:
        """Start the draft from some layers, in a worker that may ask."""
        effect = effect_of(self.bench(), layers)
        keep: list[str] = []
        if effect.lost:
            answer = await self.app.push_screen_wait(_keep_or_take(name, effect))
            if answer not in ("keep", "take"):
                return
            keep = [change.path for change in effect.lost] if answer == "keep" else []
        session = self.session
        session.end_burst()
        session.draft.apply_layer(*layers, keep=keep)
        session.changed()
        changed = len(effect.changes) - len(keep)
        kept = f" {text.plural(len(keep), 'edit')} of yours stayed." if keep else ""
        self.app.notify(f"{name}: {text.plural(changed, 'setting')} changed.{kept} ctrl+y takes it back.", timeout=5)
        self.app.show_draft(session)

    @work(group="dialog", exclusive=True)
    async def action_save(self) -> None:
        """Save the draft as a preset."""
        preset = await save_draft(self.app, self.session)
        if preset is not None:
            self.look(self.opened, str(preset.path))

    def action_undo(self) -> None:
        """Take back what was applied or typed last."""
        self.say("nothing to undo" if self.session.undo() is None else "taken back; ctrl+_ does it again", "muted")

    def action_redo(self) -> None:
        """Do it again."""
        self.say("nothing to do again" if self.session.redo() is None else "done again", "muted")

    # Files

    @work(group="dialog", exclusive=True)
    async def action_duplicate(self) -> None:
        """A copy under a name of one's own."""
        item = self.listing.current
        if item is None or item.preset is None:
            return
        source = item.preset
        name = await self.app.push_screen_wait(
            AskText(
                f"Duplicate {source.name}",
                "A name for the copy, which is yours to change. Its comments come along.",
                value=_free_name(source.name),
                check=presets.name_problem,
            )
        )
        if name:
            self.keep(lambda: presets.duplicate(source, name).path, f"{name} is a copy of {source.name}")

    @work(group="dialog", exclusive=True)
    async def action_rename(self) -> None:
        """Another name for a preset of one's own."""
        item = self.listing.current
        if item is None or item.preset is None or not item.is_own:
            self._refuse(item, "renamed")
            return
        source = item.preset
        name = await self.app.push_screen_wait(
            AskText(f"Rename {source.name}", "Its new name.", value=source.name, check=presets.name_problem)
        )
        if name:
            self.keep(lambda: presets.rename(source, name).path, f"{source.name} is called {name} now")

    @work(group="dialog", exclusive=True)
    async def action_delete(self) -> None:
        """Delete a preset of one's own, once its name has been typed."""
        item = self.listing.current
        if item is None or not item.is_own:
            self._refuse(item, "deleted")
            return
        body = f"{paths.shorten(item.path)} is deleted for good. Drafts and runs made from it keep its values."
        if await self.app.push_screen_wait(TypeWord(f"Delete {item.name}", body, item.name)):
            self.keep(lambda: _delete(item), f"deleted {item.name}")

    def action_edit(self) -> None:
        """A preset of one's own in the person's editor; afterwards it is read again."""
        item = self.listing.current
        if item is None or not item.is_own:
            self._refuse(item, "edited")
            return
        from sidestep_tui.ui.editor import edit

        try:
            edit(self.app, item.path)
        except SidestepError as error:
            self.app.tell(error)
        self.look(self.opened, item.key)

    def action_check(self) -> None:
        """What the rules say about the preset, or what is wrong with its file."""
        item = self.listing.current
        if item is not None:
            self.app.push_screen(Paper(f"Check {item.name}", papers.check_paper(item, self.glyphs)))

    def action_copy(self) -> None:
        """Put the path of the file on the terminal's clipboard."""
        item = self.listing.current
        if item is not None:
            self.app.copy_to_clipboard(str(item.path.absolute()))
            self.say(f"copied {paths.shorten(item.path)}", "muted")

    def action_look(self) -> None:
        """Read the files again."""
        self.look(self.opened)

    def keep(self, write: Callable[[], Path], words: str, *, look: bool = True) -> None:
        """Write a file and say so in `words`, or why it could not be; then list it, with the bar on it."""
        try:
            path = write()
        except SidestepError as error:
            self.app.tell(error)
            return
        except OSError as error:
            self.app.push_screen(Tell("That could not be written.", str(error), "Check the folder and its rights."))
            return
        self.say(words)
        if look:
            self.look(self.opened, str(path))

    def _refuse(self, item: Item | None, verb: str = "") -> None:
        """Say why something cannot be done with a preset."""
        if item is None:
            return
        if item.problem is not None and (item.is_own or not verb):
            self.app.tell(item.problem)
        else:
            owner = "is opened by its path" if item.group == OPENED else "comes with the product"
            self.app.push_screen(
                Tell(
                    f"{item.name} cannot be {verb} here.",
                    f"It {owner}; only presets of your own can be.",
                    "d makes a copy of your own, under another name.",
                )
            )


def _keep_or_take(name: str, effect: Effect) -> Choose:
    lost = effect.lost
    width = max(len(change.label) for change in lost)
    lines = [_kept_line(change, width) for change in lost[:_MOST_LISTED]]
    if len(lost) > _MOST_LISTED:
        lines.append(f"  and {len(lost) - _MOST_LISTED} more")
    head = f"{name} says otherwise about {text.plural(len(lost), 'setting')} that you edited:"
    return Choose(
        f"Start from {name}",
        "\n".join([head, *lines, "", "They can stay on top of it. Either way ctrl+y takes it back."]),
        [("keep", "k", "Keep mine"), ("take", "t", "Take the preset's"), ("cancel", "n", "Cancel")],
    )


def _kept_line(change: Change, width: int) -> str:
    return f"  {change.label:<{width}}  yours {change.now}, the preset's {change.then}"


def _delete(item: Item) -> Path:
    if item.preset is not None:
        return presets.delete(item.preset)
    item.path.unlink()
    return item.path


def _free_name(name: str) -> str:
    """A name that nothing has yet, made of another."""
    for number in range(1, 100):
        tail = "_mine" if number == 1 else f"_mine_{number}"
        candidate = f"{name[: 64 - len(tail)]}{tail}"
        if not presets.name_problem(candidate):
            return candidate
    return ""
