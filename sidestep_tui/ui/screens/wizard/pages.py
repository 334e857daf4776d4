"""Which page shows which step."""

from __future__ import annotations

from sidestep_tui.ui.forms.session import FormSession
from sidestep_tui.ui.screens.wizard.memory import MemoryPage
from sidestep_tui.ui.screens.wizard.page import Page
from sidestep_tui.ui.screens.wizard.places import DatasetPage, ModelPage
from sidestep_tui.ui.screens.wizard.review import ReviewPage
from sidestep_tui.ui.screens.wizard.steps import Step

_PAGES: dict[str, type[Page]] = {"model": ModelPage, "data": DatasetPage, "memory": MemoryPage, "review": ReviewPage}


def page_of(step: Step, session: FormSession) -> Page:
    """A page for a step: one of its own, or the plain rows of its settings."""
    return _PAGES.get(step.id, Page)(step, session)
