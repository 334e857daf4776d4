"""`runs` and its commands: the table, and deleting only after the word."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sidestep_tui.engine.fake_history import write_run
from sidestep_tui.protocol import registry
from sidestep_tui.schema import drafts
from tests.cli.conftest import Outcome

Cli = Callable[..., Outcome]
NOW = 1_790_000_000.0


@pytest.fixture
def three(home: Path) -> Path:
    """Three runs in a folder that is not ./runs."""
    folder = home / "elsewhere"
    for place, (name, scenario) in enumerate((("drums", "finished"), ("bass", "diverged"), ("voices", "crashed"))):
        write_run(folder / name, scenario, now=NOW - place * 1000, steps=40, save_every=10).release()
    return folder


def test_a_folder_is_listed_from_then_on(run_cli: Cli, three: Path) -> None:
    assert "There are no runs yet" in run_cli("runs").err
    assert len(run_cli("runs", "--folder", three, "--json").json) == 3
    lines = run_cli("runs").out.splitlines()
    assert [line.split()[0] for line in lines] == ["status", "finished", "diverged", "died"]
    assert "lora 64" in lines[1] and lines[1].endswith("elsewhere")
    assert run_cli("runs", "forget", three).code == 0
    assert run_cli("runs", "--json").json == []


def test_the_table_is_filtered_and_sorted(run_cli: Cli, three: Path) -> None:
    registry.remember_folder(three)

    def names(*arguments: str) -> list[str]:
        return [run["name"] for run in run_cli("runs", "--json", *arguments).json]

    assert names("--filter", "state:failed") == ["bass", "voices"]
    assert names("--sort", "name") == ["bass", "drums", "voices"]
    assert names("--sort", "name", "--reverse") == ["voices", "drums", "bass"]
    assert names("--sort", "loss")[-1] == "bass"
    assert "matches nothing" in run_cli("runs", "--filter", "nothing").err
    refused = run_cli("runs", "--filter", "knd:lora")
    assert refused.code == 2
    assert "kind" in refused.err


def test_json_tells_what_the_list_shows(run_cli: Cli, three: Path) -> None:
    registry.remember_folder(three)
    run = next(run for run in run_cli("runs", "--json").json if run["name"] == "drums")
    assert run["status"] == "finished" and run["kind"] == "lora" and run["rank"] == 64
    assert run["best_by"] == "training" and run["bytes"] > 1000 and run["reachable"] is True


def test_runs_are_compared(run_cli: Cli, three: Path) -> None:
    registry.remember_folder(three)
    text = (three / "bass" / "run.toml").read_text().replace("rank = 64", "rank = 16")
    (three / "bass" / "run.toml").write_text(text)
    outcome = run_cli("runs", "compare", "drums", "bass")
    assert "adapter.rank  64     16" in outcome.out
    assert "learning" not in outcome.out
    assert "NaN" in outcome.out
    told = run_cli("runs", "compare", "drums", "bass", "--json").json
    assert told["differences"] == {"adapter.rank": [64, 16]}
    assert [run["name"] for run in told["runs"]] == ["drums", "bass"]
    assert run_cli("runs", "compare", "drums").code == 2


def test_nothing_is_deleted_without_the_name(run_cli: Cli, three: Path) -> None:
    registry.remember_folder(three)
    for arguments in ([], ["--yes-delete", "bas"], ["--yes-delete", ""]):
        assert run_cli("runs", "delete", "bass", *arguments).code == 2
        assert run_cli("runs", "tidy", "bass", *arguments).code == 2
    assert run_cli("runs", "delete", "bass", "--dry-run").code == 0
    assert len(list((three / "bass" / "checkpoints").iterdir())) == 2
    (three / "bass" / "notes.md").write_text("mine")
    outcome = run_cli("runs", "delete", "bass", "--yes-delete", "bass")
    assert outcome.code == 0
    assert outcome.out == f"{three / 'bass' / 'notes.md'}\n"
    assert [path.name for path in (three / "bass").iterdir()] == ["notes.md"]


def test_tidying_says_what_goes_and_stays(run_cli: Cli, three: Path) -> None:
    registry.remember_folder(three)
    overview = run_cli("runs", "tidy").out
    assert "drums" in overview and "3" in overview
    plan = run_cli("runs", "tidy", "drums", "--dry-run", "--json").json
    assert [Path(item["path"]).name for item in plan["goes"]] == ["step_000010", "step_000020", "step_000030"]
    assert [Path(item["path"]).name for item in plan["stays"]] == ["step_000040"]
    assert run_cli("runs", "tidy", "drums", "--yes-delete", "drums").code == 0
    assert [path.name for path in (three / "drums" / "checkpoints").iterdir()] == ["step_000040"]


def test_a_living_run_is_neither_deleted_nor_tidied(run_cli: Cli, home: Path) -> None:
    with write_run(home / "runs" / "live", "live", now=NOW, steps=40) as run:
        for command in ("delete", "tidy"):
            outcome = run_cli("runs", command, "live", "--yes-delete", "live")
            assert outcome.code != 0
            assert "is alive" in outcome.err
        assert run.run_dir.run_toml.is_file()


def test_a_run_becomes_a_draft(run_cli: Cli, three: Path) -> None:
    registry.remember_folder(three)
    made = run_cli("runs", "duplicate", "drums").out.strip()
    (summary,) = drafts.list_drafts()
    assert summary.id == made
    assert summary.title.endswith("run drums")
    listed = run_cli("runs", "--drafts", "--json").json
    assert [item.get("draft") for item in listed] == [None, None, None, made]
    assert listed[-1]["rank"] == 64
    assert "drums-2 · run drums" in run_cli("runs", "--drafts").out
    assert run_cli("runs", "build-on", "drums", "--adapter", "nothing").code == 2
