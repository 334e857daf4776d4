"""Static promises: the layers hold, types check, style is one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["lint-imports", "--no-cache"], id="import-contracts"),
        pytest.param(["ruff", "check", "--no-cache", "sidestep_tui", "tests"], id="ruff-check"),
        pytest.param(["ruff", "format", "--no-cache", "--check", "sidestep_tui", "tests"], id="ruff-format"),
        pytest.param(["mypy"], id="mypy"),
    ],
)
def test_static_check_passes(command: list[str]) -> None:
    result = subprocess.run([BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
