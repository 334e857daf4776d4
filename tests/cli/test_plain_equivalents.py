"""Whatever a screen shows or does, a command does in plain text: for screen readers, pipes and telephones."""

from __future__ import annotations

import shlex

import click
import pytest

from sidestep_tui.cli.commands import cli
from sidestep_tui.ui.base import SidestepScreen
from sidestep_tui.ui.everykey import every_key

EQUIVALENTS = {
    "WizardScreen": [
        "train PRESET --model DIR --dataset DIR --set PATH=VALUE --dry-run",
        "fit PRESET --vram 12",
        "models list",
        "models check DIR",
    ],
    "SettingsScreen": ["presets show PRESET --resolved"],
    "PresetsScreen": [
        "presets list",
        "presets show PRESET",
        "presets diff A B",
        "presets check FILE",
        "presets import FILE",
    ],
    "DashboardScreen": ["attach RUN --plain", "pause RUN", "checkpoint RUN", "stop RUN", "abort RUN", "resume RUN"],
    "RunsScreen": ["runs --filter WORDS", "runs tidy", "runs duplicate RUN", "runs delete RUN"],
    "CompareScreen": ["runs compare A B"],
    "SongsScreen": ["dataset scan DIR", "dataset read DIR", "dataset set DIR", "dataset measure DIR"],
    "DoctorScreen": ["dataset doctor DIR"],
    "SlicerScreen": ["dataset slice DIR"],
    "Help": ["keys"],
}


def screens() -> list[str]:
    """The screens that are shown, without the halves that they are made of."""
    every_key()  # imports them all
    found, waiting = set(), [SidestepScreen]
    while waiting:
        kind = waiting.pop()
        parts = [child for child in kind.__subclasses__() if child.__module__.startswith("sidestep_tui.")]
        waiting += parts
        if not parts and kind.__name__.endswith("Screen"):
            found.add(kind.__name__)
    return sorted(found)


def test_every_screen_has_an_equivalent() -> None:
    assert len(screens()) >= 7
    assert set(screens()) <= set(EQUIVALENTS)


@pytest.mark.parametrize("line", [line for lines in EQUIVALENTS.values() for line in lines])
def test_the_command_exists_with_its_options(line: str) -> None:
    words = shlex.split(line)
    command: click.Command = cli
    while isinstance(command, click.Group) and words and words[0].islower() and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words.pop(0))
        assert found is not None, line
        command = found
    known = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known, line
