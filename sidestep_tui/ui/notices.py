"""What the app says in passing: every toast is kept, so that a log can tell it again; the bell can be switched off."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from textual.app import App
from textual.notifications import SeverityLevel


@dataclass(frozen=True, slots=True)
class Toast:
    """One notification: when, how grave, its words, and the place that was in front."""

    t: float
    severity: SeverityLevel
    words: str
    place: str


class NoticesApp(App[Any]):
    """Remembers its toasts."""

    rings = True
    """Whether the bell sounds."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.toasts: list[Toast] = []
        super().__init__(*args, **options)

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = True,
    ) -> None:
        """Show a toast, and keep it."""
        words = f"{title}: {message}" if title else message
        self.toasts.append(Toast(time.time(), severity, words, self.current_mode))
        super().notify(message, title=title, severity=severity, timeout=timeout, markup=markup)

    def bell(self) -> None:
        """Ring, unless the user switched that off."""
        if self.rings:
            super().bell()
