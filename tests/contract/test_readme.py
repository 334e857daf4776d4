"""The README's tables are the schema's own, and its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

from click.testing import CliRunner

from sidestep_tui.cli.commands import cli
from sidestep_tui.schema import fields, presets

README = Path(__file__).resolve().parents[2] / "README.md"


def _between(mark: str) -> str:
    found = re.search(rf"<!-- {mark} -->\n(.*?)<!-- /{mark} -->", README.read_text(encoding="utf-8"), re.DOTALL)
    assert found, f"the README has no {mark} table"
    return found[1].strip()


def test_settings_table_is_rendered_from_the_schema() -> None:
    assert _between("settings") == fields.markdown_table().strip()


def test_presets_table_is_rendered_from_the_presets() -> None:
    assert _between("presets") == presets.markdown_table().strip()


def test_every_command_that_the_readme_shows_exists() -> None:
    shown = set(re.findall(r"^(?:.*/)?sidestep-tui ([a-z]+)", README.read_text(encoding="utf-8"), re.MULTILINE))
    assert {"train", "attach", "runs", "stop", "resume"} <= shown
    for name in sorted(shown):
        result = CliRunner().invoke(cli, [name, "--help"])
        assert result.exit_code == 0, f"{name}: {result.output}"


def test_test_command_is_the_one_that_ci_runs() -> None:
    script = (README.parent / ".ci" / "run").read_text(encoding="utf-8")
    (command,) = re.findall(r"\.venv/bin/uv run pytest.*", script)
    assert f"{command}\n" in README.read_text(encoding="utf-8")
