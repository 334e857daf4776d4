"""Messages that cross the borders of a screen."""

from __future__ import annotations

from pathlib import Path

from textual.message import Message


class RunStarted(Message):
    """A run's engine has answered; its dashboard may open."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path


class SettingPicked(Message):
    """Somebody asked to see one setting, by its dotted path."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path


class PresetPicked(Message):
    """Somebody asked to see one preset, by the path of its file."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key
