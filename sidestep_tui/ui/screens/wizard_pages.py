"""Which page shows which step."""

from __future__ import annotations

from sidestep_tui.ui.forms.session import FormSession
from sidestep_tui.ui.screens.wizard_memory import MemoryPage
from sidestep_tui.ui.screens.wizard_page import Page
from sidestep_tui.ui.screens.wizard_places import DatasetPage, ModelPage
from sidestep_tui.ui.screens.wizard_review import ReviewPage
from sidestep_tui.ui.screens.wizard_steps import Step

_PAGES: dict[str, type[Page]] = {"model": ModelPage, "data": DatasetPage, "memory": MemoryPage, "review": ReviewPage}


def page_of(step: Step, session: FormSession) -> Page:
    """A page for a step: one of its own, or the plain rows of its settings."""
    return _PAGES.get(step.id, Page)(step, session)
