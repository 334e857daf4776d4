"""Presets in the wizard: the door to their browser, and keeping the draft as one."""

from __future__ import annotations

from textual import work

from sidestep_tui.ui.screens.wizard.jobs import WizardJobs


class WizardPresets(WizardJobs):
    """The part of the wizard that deals with presets."""

    def action_load_preset(self) -> None:
        """Browse the presets: what each would change, what it would cost, and enter to start from it."""
        self.app.action_presets()

    @work(group="dialog", exclusive=True)
    async def action_save_preset(self) -> None:
        """Save what differs from the defaults under a name; asks before overwriting one."""
        # The wizard's first frame waits for no schema.
        from sidestep_tui.ui.screens.presets.saving import save_draft

        await save_draft(self.app, self.session)
