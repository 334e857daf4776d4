"""Presets in the wizard: load, save, import. Nothing of a name is ever overwritten unasked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from textual import work

from sidestep_tui.core.errors import SettingsError, SidestepError
from sidestep_tui.core.ids import slug
from sidestep_tui.core.text import plural
from sidestep_tui.ui.dialogs.confirm import Confirm, Tell
from sidestep_tui.ui.screens.wizard.jobs import WizardJobs

if TYPE_CHECKING:
    from sidestep_tui.schema.presets import Preset


class WizardPresets(WizardJobs):
    """The part of the wizard that deals with presets."""

    @work(group="dialog", exclusive=True)
    async def action_load_preset(self) -> None:
        """Choose a preset to start from; typed paths and names stay, recipe edits go (and undo brings them back)."""
        from sidestep_tui.schema import presets
        from sidestep_tui.ui.dialogs.presets import PickPreset

        for path, error in presets.broken_presets():
            self.notify(f"{path.name}: {error}", title="A preset cannot be used", severity="warning", timeout=10)
        current = self.session.draft.base_name.partition(" ")[2]
        chosen = await self.app.push_screen_wait(PickPreset(presets.list_presets(), current))
        if isinstance(chosen, presets.Preset):
            self._load(chosen)
        elif chosen == "import":
            await self._import()

    def _load(self, preset: Preset) -> None:
        self.session.end_burst()
        self.session.draft.apply_layer(*preset.layers())
        self.session.changed()
        self.notify(f"Loaded {preset.name}: {plural(len(preset.values), 'setting')}. ctrl+y takes it back.", timeout=4)

    async def _import(self) -> None:
        from sidestep_tui.schema import importers
        from sidestep_tui.schema.layers import Layer
        from sidestep_tui.ui.dialogs.presets import ShowImport
        from sidestep_tui.ui.dialogs.text import AskText

        typed = await self.app.push_screen_wait(
            AskText(
                "Import a preset",
                "Path of a preset of Side-Step, ace-lora-trainer or another trainer (JSON or YAML), or of a run.toml.",
                check=_no_such_file,
            )
        )
        if not typed:
            return
        path = Path(typed).expanduser()
        try:
            report = importers.import_preset(path)
        except SidestepError as error:
            self.app.push_screen(Tell(error.title, error.message, error.hint))
            return
        if await self.app.push_screen_wait(ShowImport(path, report)):
            self.session.end_burst()
            self.session.draft.apply_layer(Layer(f"import {report.name}", report.values))
            self.session.changed()
            self.notify(f"Imported {report.name}: {plural(len(report.values), 'setting')}.", timeout=4)

    @work(group="dialog", exclusive=True)
    async def action_save_preset(self) -> None:
        """Save what differs from the defaults under a name; asks before overwriting one."""
        from sidestep_tui.ui.dialogs.text import AskText

        try:
            self.session.draft.resolve()
        except SidestepError as error:
            self.app.push_screen(Tell(error.title, error.message, error.hint or "Correct them, then save."))
            return
        values = self.session.draft.sparse
        name = await self.app.push_screen_wait(
            AskText(
                "Save as preset",
                f"A name for {plural(len(values), 'setting')}. Paths, the trigger tag and the run's name are left out.",
                value=_suggested(self.session.draft.base_name),
                check=_bad_name,
            )
        )
        if name:
            await self._save_as(name)

    async def _save_as(self, name: str) -> None:
        from sidestep_tui.schema import presets

        taken = any(preset.name == name and preset.source == "user" for preset in presets.list_presets())
        if taken and not await self.app.push_screen_wait(
            Confirm("Overwrite?", f"There is a preset '{name}' of yours. Its settings would be replaced.", "Overwrite")
        ):
            return
        draft = self.session.draft
        comment = f"Made in the wizard from {draft.base_name}."
        try:
            preset = presets.save_user(name, draft.sparse, comment, overwrite=taken)
        except (SettingsError, OSError) as error:
            title, message, hint = (
                (error.title, error.message, error.hint)
                if isinstance(error, SettingsError)
                else ("The preset could not be saved.", str(error), "Check the configuration directory.")
            )
            self.app.push_screen(Tell(title, message, hint))
            return
        draft.apply_layer(*preset.layers())
        self.session.changed()
        self.notify(f"Saved {name}. Replay it with: sidestep-tui train {name}", timeout=6)


def _suggested(base_name: str) -> str:
    from sidestep_tui.schema import presets

    stem = base_name.partition(" ")[2] or "mine"
    shipped = any(preset.name == stem and preset.source != "user" for preset in presets.list_presets())
    return f"{stem}_mine" if shipped else stem


def _bad_name(name: str) -> str:
    from sidestep_tui.schema import presets

    if slug(name, fallback="") != name or not name[:1].isalnum():
        return "Letters, digits, dots, dashes and underscores only, 64 at most."
    if any(preset.name == name and preset.source == "shipped" for preset in presets.list_presets()):
        return f"{name} is a preset of the product; choose another name."
    return ""


def _no_such_file(typed: str) -> str:
    return "" if Path(typed).expanduser().is_file() else "There is no such file yet."
