"""The command line where the environment is hostile: no home, no directory, no streams, no room."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sidestep_tui.core import paths

from .conftest import Outcome

SHELL_COMMAND = f'{sys.executable} -m sidestep_tui.cli.main "$@"'


def shell(script: str, *arguments: str, cwd: Path, **variables: str) -> Outcome:
    """Run `script`, in which `product` is the command line, by a shell."""
    source = Path(paths.__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(source), **variables}
    command = ["sh", "-c", f"product() {{ {SHELL_COMMAND}; }}; {script}", "sh", *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr
    return Outcome(done.returncode, done.stdout, done.stderr)


def test_closed_streams_are_no_error(home: Path) -> None:
    assert shell("product presets list >&-", cwd=home).code == 0
    assert shell("product presets list <&- >&- 2>&-", cwd=home).code == 0
    assert shell("product train nope 2>&-", cwd=home).code == 4


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_without_room_is_a_sentence(home: Path) -> None:
    outcome = shell("product presets list > /dev/full", cwd=home)
    assert outcome.code == 4
    assert "No space left" in outcome.err
    assert shell("product presets list --json > /dev/full", cwd=home).code == 4


def test_a_working_directory_that_is_gone_is_said(home: Path) -> None:
    (home / "gone").mkdir()
    outcome = shell("cd gone; rmdir ../gone; product train quick_test --dry-run", cwd=home)
    assert outcome.code == 4
    assert "working directory is gone" in outcome.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["attach", "~nobody_of_that_name/run"],
        ["train", "~nobody_of_that_name/mine.toml"],
        ["train", "quick_test", "--dry-run", "--model", "~nobody_of_that_name", "--dataset", "~nobody_of_that_name"],
        ["dataset", "scan", "~nobody_of_that_name"],
    ],
)
def test_the_home_of_nobody_is_a_path_that_does_not_exist(run_cli: Any, arguments: list[str]) -> None:
    outcome = run_cli(*arguments)
    assert outcome.code == 4
    assert "~nobody_of_that_name" in outcome.out + outcome.err


def test_no_folder_is_made_for_the_home_of_nobody(run_cli: Any, train_arguments: list[str]) -> None:
    outcome = run_cli(*train_arguments, "--output", "~nobody_of_that_name/runs", "--dry-run")
    assert outcome.code == 4
    assert "output.path" in outcome.err
    assert "no user 'nobody_of_that_name'" in outcome.err


@pytest.fixture
def homeless(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home in which nothing can be made: below a file, which binds root as well."""
    (home / "file").write_text("")
    for name in ("CONFIG", "STATE", "CACHE", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / "file" / name))


@pytest.mark.usefixtures("homeless")
@pytest.mark.parametrize("arguments", [["runs"], ["presets", "list"], ["presets", "check", "quick_test"]])
def test_looking_needs_no_home(run_cli: Any, arguments: list[str]) -> None:
    outcome = run_cli(*arguments)
    assert outcome.code == 0, outcome.err


@pytest.mark.usefixtures("homeless")
def test_the_doctor_names_folders_that_cannot_be_written(run_cli: Any) -> None:
    outcome = run_cli("doctor")
    assert "not writable" in outcome.out
    assert "Something went wrong" not in outcome.err


@pytest.mark.usefixtures("homeless")
def test_writing_without_a_home_says_which_path(run_cli: Any, home: Path) -> None:
    (home / "mine.toml").write_text("[optim]\nlr = 1e-4\n")
    outcome = run_cli("presets", "import", "mine.toml")
    assert outcome.code == 4
    assert str(home / "file") in outcome.err
