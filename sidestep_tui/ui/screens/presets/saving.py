"""Keeping a draft as a preset, from the wizard or from the browser: only what differs, and nothing overwritten
without its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sidestep_tui.core.errors import SidestepError
from sidestep_tui.core.text import plural
from sidestep_tui.schema import presets
from sidestep_tui.schema.draft import Draft
from sidestep_tui.schema.preset_file import Preset
from sidestep_tui.schema.presets import Place
from sidestep_tui.ui.dialogs.confirm import Tell
from sidestep_tui.ui.dialogs.presets import Savable, Saved, SavePreset
from sidestep_tui.ui.dialogs.typed import TypeWord
from sidestep_tui.ui.forms.session import FormSession

if TYPE_CHECKING:
    from sidestep_tui.ui.app import SidestepApp


async def save_draft(app: SidestepApp, session: FormSession) -> Preset | None:
    """Ask for a name and save the draft under it; the draft then starts from that preset. None if nothing was saved."""
    draft = session.draft
    try:
        draft.resolve()
    except SidestepError as error:
        app.push_screen(Tell(error.title, error.message, error.hint or "Correct them, then save."))
        return None
    names = Names(presets.list_presets())
    answer = await app.push_screen_wait(
        SavePreset(
            ways_of(draft, names),
            names.suggested(draft.base_name.partition(" ")[2]),
            places=places(),
            is_taken=names.taken,
            problem=names.problem,
        )
    )
    if answer is None:
        return None
    taken = names.taken(answer.name, answer.place)
    if taken is not None and not await app.push_screen_wait(
        TypeWord("Overwrite", f"'{answer.name}' is a preset of yours. Its settings would be replaced.", answer.name)
    ):
        return None
    preset = _save(app, draft, answer, taken)
    if preset is not None:
        session.end_burst()
        draft.apply_layer(*preset.layers())
        session.changed()
        app.notify(
            f"Saved {preset.name}: {plural(len(preset.own), 'setting')}. Replay: sidestep-tui train {preset.name}",
            timeout=6,
        )
    return preset


def _save(app: SidestepApp, draft: Draft, answer: Saved, taken: Preset | None) -> Preset | None:
    try:
        return presets.save(
            answer.name,
            draft.sparse,
            f"Made in the wizard from {draft.base_name}.",
            overwrite=taken is not None,
            description=answer.description,
            extends=answer.extends,
            place=answer.place,
        )
    except SidestepError as error:
        app.push_screen(Tell(error.title, error.message, error.hint))
    except OSError as error:
        app.push_screen(Tell("The preset could not be saved.", str(error), "Check the configuration directory."))
    return None


class Names:
    """The names that there are, looked up once: a form asks about them with every key."""

    def __init__(self, known: Sequence[Preset]) -> None:
        self._known = known

    def base(self, name: str) -> Preset | None:
        """The preset that a name means."""
        return next((preset for preset in self._known if preset.name == name and not preset.hidden), None)

    def taken(self, name: str, place: Place) -> Preset | None:
        """The preset of that name among the user's own in a place."""
        return next((preset for preset in self._known if preset.name == name and preset.source == place), None)

    def problem(self, name: str, place: Place, extends: str = "") -> str:
        """Why a draft cannot be saved under a name; one of the user's own may be overwritten."""
        if self.taken(name, place) is None:
            return presets.name_problem(name, place=place)
        if extends == name:
            return f"On top of '{name}' it needs another name."
        followers = [preset.name for preset in self._known if preset.extends == name and preset.is_own]
        if extends and followers:
            return f"'{followers[0]}' stands on top of '{name}', which must stand by itself."
        return ""

    def suggested(self, stem: str) -> str:
        """The name where that is the user's own already, or one beside it that is free."""
        stem = presets.safe_name(stem or "mine")
        tries = (stem, *(f"{stem[:56]}_mine{number}" for number in ("", *(f"_{n}" for n in range(2, 99)))))
        own = self.taken(stem, "user") is not None
        return stem if own else next((name for name in tries if not presets.name_problem(name)), stem)


def ways_of(draft: Draft, names: Names) -> list[Savable]:
    """By itself; and on top of the preset that the draft starts from, where that does not extend another one."""
    ways = [Savable("", presets.differing(draft.sparse))]
    kind, _, name = draft.base_name.partition(" ")
    base = names.base(name) if kind == "preset" else None
    if base is not None and not base.extends:
        above = presets.differing(draft.sparse, extends=name)
        ways += [Savable(name, above)] if above else []
    return ways


def places() -> list[Place]:
    """Where a preset may be kept: among the user's own, and with the folder that already keeps some."""
    kept: list[Place] = ["user"]
    return [*kept, "project"] if any(source == "project" for _, source in presets.places()) else kept
