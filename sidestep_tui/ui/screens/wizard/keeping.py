"""Drafts in the wizard: which one is opened, and that none is ever lost."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from textual.timer import Timer

from sidestep_tui.core.errors import SettingsError, SidestepError
from sidestep_tui.ui.screens.wizard.frame import WizardFrame
from sidestep_tui.ui.screens.wizard.steps import STEP_IDS

if TYPE_CHECKING:
    from sidestep_tui.schema.draft import Draft

_SAVE_DELAY = 0.3


class WizardDrafts(WizardFrame):
    """The part of the wizard that keeps the draft."""

    _save_timer: Timer | None = None

    async def open_step(self, step_id: str, *, field: str = "") -> None:
        """Show a page."""
        raise NotImplementedError

    def save_soon(self) -> None:
        """Save a moment after the first change since the last saving, however fast somebody types on."""
        if self._save_timer is None:
            self._save_timer = self.set_timer(_SAVE_DELAY, self.save_now)

    def save_now(self) -> None:
        """Write the draft if it changed; say so where it cannot be, or where it goes on as a copy."""
        if self._save_timer is not None:
            self._save_timer.stop()
            self._save_timer = None
        try:
            forked = self.session.save()
        except (OSError, SidestepError) as error:
            self.notify(f"The draft could not be saved: {error}", severity="error", timeout=10)
            return
        if forked:
            self.notify(
                "This draft was changed in another window. Both are kept: yours goes on here as a draft of its own.",
                severity="warning",
                timeout=15,
            )

    def on_unmount(self) -> None:
        # On the way out there is nobody left to tell; the last save that worked is intact.
        if self._session is None:
            return
        with contextlib.suppress(OSError, SidestepError):
            self._session.save()

    def open_draft(self, draft: Draft) -> None:
        """Work on another draft; the present one is saved."""
        self.save_now()
        self.session.replace_draft(draft)
        self._seen.clear()
        step = draft.step if draft.step in STEP_IDS else STEP_IDS[0]
        self.run_worker(self.open_step(step, field=draft.field), group="open", exclusive=True)

    async def action_new_draft(self) -> None:
        """Start over on the recommended preset; the present draft stays in the list."""
        self.open_draft(fresh_draft())


def latest_draft() -> Draft:
    """The draft last worked on, or a fresh one on the recommended preset."""
    from sidestep_tui.schema import drafts

    for summary in drafts.list_drafts():
        try:
            return drafts.load(summary.id)
        except SettingsError:
            continue
    return fresh_draft()


def fresh_draft(preset_name: str = "recommended") -> Draft:
    """An empty draft on a preset; on the bare defaults should that be missing."""
    from sidestep_tui.schema import presets
    from sidestep_tui.schema.draft import Draft

    try:
        return Draft(presets.find(preset_name).layers())
    except SettingsError:
        return Draft()
