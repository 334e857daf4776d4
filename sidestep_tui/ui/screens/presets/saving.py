"""Keeping a draft as a preset, from the wizard or from the browser: only what differs, and nothing overwritten
without its name."""

from __future__ import annotations

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
    answer = await app.push_screen_wait(
        SavePreset(ways_of(draft), suggested_name(draft), places=places(), is_taken=own_named, problem=problem_of)
    )
    if answer is None:
        return None
    taken = own_named(answer.name, answer.place)
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


def ways_of(draft: Draft) -> list[Savable]:
    """By itself; and on top of the preset that the draft starts from, where that does not extend another one."""
    ways = [Savable("", presets.differing(draft.sparse))]
    kind, _, name = draft.base_name.partition(" ")
    base = next((known for known in presets.list_presets() if known.name == name and not known.hidden), None)
    if kind == "preset" and base is not None and not base.extends:
        above = presets.differing(draft.sparse, extends=name)
        ways += [Savable(name, above)] if above else []
    return ways


def places() -> list[Place]:
    """Where a preset may be kept: among the user's own, and with the folder that already keeps some."""
    kept: list[Place] = ["user"]
    return [*kept, "project"] if any(source == "project" for _, source in presets.places()) else kept


def own_named(name: str, place: Place = "user") -> Preset | None:
    """The preset of that name among the user's own in a place."""
    return next((known for known in presets.list_presets() if known.name == name and known.source == place), None)


def problem_of(name: str, place: Place = "user") -> str:
    """Why a draft cannot be saved under a name; one of the user's own may be overwritten."""
    return "" if own_named(name, place) is not None else presets.name_problem(name, place=place)


def suggested_name(draft: Draft) -> str:
    """The name of the preset that the draft starts from where that is the user's; one beside it otherwise."""
    stem = presets.safe_name(draft.base_name.partition(" ")[2] or "mine")
    return stem if not problem_of(stem) else f"{stem}_mine"[-64:]
