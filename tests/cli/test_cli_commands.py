"""The commands that only look: presets, models, dataset, fit, adapter, doctor; and the border of the command line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from sidestep_tui.cli import commands
from sidestep_tui.cli.commands import COMMANDS, cli
from sidestep_tui.core import paths
from sidestep_tui.launch import demo as demos
from sidestep_tui.schema.model_shape import SHAPE_2B

from .conftest import Outcome, write_safetensors

Cli = Callable[..., Outcome]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(run_cli: Cli, name: str) -> None:
    outcome = run_cli(name, "--help")
    assert outcome.code == 0
    assert "Usage: sidestep-tui" in outcome.out
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.help


def test_help_lists_every_command_without_importing_one() -> None:
    code = (
        "import sys; from sidestep_tui.cli.main import main; main(['--help']);"
        "assert not [m for m in sys.modules if m.startswith('sidestep_tui.schema')], 'a command was imported'"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert set(COMMANDS) <= set(re.findall(r"^  (\w+) ", result.stdout, re.MULTILINE))


def test_an_unknown_command_is_answered_with_the_nearest(run_cli: Cli) -> None:
    outcome = run_cli("trian")
    assert outcome.code == 2
    assert "Did you mean 'train'?" in outcome.err


def test_a_bug_leaves_a_traceback_in_a_file_and_a_sentence(run_cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: object) -> None:
        raise ZeroDivisionError("by purpose")

    monkeypatch.setattr(commands, "cli", type("Cli", (), {"main": staticmethod(broken)}))
    outcome = run_cli("runs")
    assert outcome.code == 70
    assert "Traceback" not in outcome.err
    (log,) = paths.state_dir().glob("crashes/*.log")
    assert str(log) in outcome.err
    assert "by purpose" in log.read_text()


def test_a_reader_that_leaves_early_is_no_error() -> None:
    code = "import sys; from sidestep_tui.cli.main import main; sys.exit(main(['presets', 'list']))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    process.wait()
    assert "Traceback" not in err
    assert "Broken" not in err
    assert process.returncode == 1


def test_presets_are_listed_shown_and_checked(run_cli: Cli) -> None:
    listed = run_cli("presets", "list", "--json").json
    assert listed[0]["name"] == "recommended"
    for preset in listed:
        assert run_cli("presets", "check", preset["name"]).code == 0, preset["name"]
    shown = run_cli("presets", "show", "vram_8gb")
    assert "rank = 16" in shown.out
    assert "preset vram_8gb" in run_cli("presets", "show", "vram_8gb", "--resolved").out


def test_a_preset_that_contradicts_itself_fails_its_check(run_cli: Cli, home: Path) -> None:
    (home / "odd.toml").write_text('schema_version = 1\n[adapter]\nattention = "none"\n')
    outcome = run_cli("presets", "check", "odd.toml")
    assert outcome.code == 4
    assert "adapter.attention" in outcome.out


def test_a_foreign_preset_is_imported_exported_compared_and_deleted(run_cli: Cli, home: Path) -> None:
    (home / "theirs.json").write_text(json.dumps({"rank": 8, "alpha": 16, "learning_rate": 0.0003, "mystery": 1}))
    report = run_cli("presets", "import", "theirs.json", "--name", "theirs", "--json")
    assert report.code == 0, report.err
    assert next(row for row in report.json["keys"] if row["key"] == "mystery")["verdict"] == "refused"
    difference = run_cli("presets", "diff", "theirs", "--json").json
    assert difference["adapter.rank"] == {"theirs": 8, "default": 64}
    assert run_cli("presets", "export", "theirs", "out.toml").code == 0
    assert "rank = 8" in (home / "out.toml").read_text()
    assert run_cli("presets", "export", "theirs", "out.toml").code == 4
    assert run_cli("presets", "delete", "theirs", "--yes").code == 0
    assert run_cli("presets", "show", "theirs").code == 4
    assert run_cli("presets", "delete", "recommended").code == 4


def test_models_are_listed_and_checked(run_cli: Cli, checkpoint: Path) -> None:
    (listed,) = run_cli("models", "list", "--json").json
    assert (listed["variant"], listed["decoder_parameters"]) == ("turbo", SHAPE_2B.parameters)
    assert run_cli("models", "check", checkpoint).code == 0
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    broken = run_cli("models", "check", checkpoint, "--json")
    assert broken.code == 4
    assert [Path(file["path"]) for file in broken.json["files"] if file["problem"]] == [weights.resolve()]


def test_a_dataset_is_scanned(run_cli: Cli, songs: Path) -> None:
    (songs / "broken.wav").write_bytes(b"RIFF")
    outcome = run_cli("dataset", "scan", songs)
    assert outcome.code == 0
    assert "drums, a test" in outcome.out
    assert "broken.wav" in outcome.err
    assert [song["name"] for song in run_cli("dataset", "scan", songs, "--json").json["songs"]] == ["drums", "waves"]
    missing = run_cli("dataset", "scan", "nowhere")
    assert missing.code == 4


def test_fit_shows_the_ladder_and_the_adapter(run_cli: Cli) -> None:
    found = run_cli("fit", "recommended", "--xl", "--vram", "8", "--json").json
    assert found["adapter_parameters"] == 64 * 1_310_720
    fits = {rung["name"]: rung["fits"] for rung in found["ladder"]}
    assert fits == {"everything": False, "recompute": False, "int8 base": True, "nf4 base": True}
    assert found["proposal"] == {"memory.gradient_checkpointing": "on", "memory.base": "int8"}
    on = ("-s", "memory.gradient_checkpointing=on")
    assert run_cli("fit", "recommended", "--vram", "24").out.endswith("fits into 24.0 GiB as it is\n"), "auto"
    out = run_cli("fit", "recommended", "--vram", "24", *on).out
    assert "to fit into 24.0 GiB: -s memory.gradient_checkpointing=off" in out
    out = run_cli("fit", "recommended", "--xl", "--vram", "8").out
    assert out.endswith("to fit into 8.0 GiB: -s memory.base=int8\n")
    assert (
        run_cli("fit", "recommended", "-s", "adapter.rank=512", "--xl", "--vram", "2")
        .out.rstrip()
        .endswith("Nothing fits into 2.0 GiB: choose a smaller model or a lower rank.")
    )


def _write_lora(directory: Path, **options: dict[str, str]) -> None:
    shapes = {}
    for layer in range(2):
        for block in ("self_attn", "cross_attn"):
            name = f"base_model.model.layers.{layer}.{block}.q_proj"
            shapes |= {f"{name}.lora_A.weight": (8, 32), f"{name}.lora_B.weight": (32, 8)}
    write_safetensors(directory / "adapter_model.safetensors", shapes, **options)
    (directory / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 8, "lora_alpha": 16}))


def test_an_adapter_is_described_from_its_header(run_cli: Cli, home: Path) -> None:
    _write_lora(home / "a", metadata={"lora_adapter_metadata": json.dumps({"transformer.lora_alpha": 16})})
    found = run_cli("adapter", "inspect", home / "a", "--json").json
    assert (found["kind"], found["naming"], found["ranks"], found["alphas"]) == ("LoRA", "original", [8], [16.0])
    assert found["targets"] == {"cross_attn.q_proj": 2, "self_attn.q_proj": 2}
    assert (found["layers"], found["tensors"], found["parameters"]) == (2, 8, 8 * 32 * 8)
    assert found["warnings"] == []
    assert "self_attn.q_proj" in run_cli("adapter", "inspect", home / "a").out


def test_an_adapter_without_alpha_for_diffusers_is_warned_about(run_cli: Cli, home: Path) -> None:
    _write_lora(home / "a")
    assert "alpha = rank" in run_cli("adapter", "inspect", home / "a" / "adapter_model.safetensors").err


def test_what_is_no_adapter_is_refused(run_cli: Cli, checkpoint: Path, home: Path) -> None:
    assert "not an adapter" in run_cli("adapter", "inspect", checkpoint / "model.safetensors").err
    (home / "text.safetensors").write_text("hello, this is text")
    outcome = run_cli("adapter", "inspect", "text.safetensors")
    assert outcome.code == 4
    assert "not a safetensors file" in outcome.err
    assert run_cli("adapter", "inspect", "nowhere").code == 4


def test_doctor_reports_the_environment(run_cli: Cli) -> None:
    report = run_cli("doctor", "--json")
    assert report.json["packages"]["torch"]["status"] == "ok"
    assert "torch" in run_cli("doctor").out


def test_a_run_is_found_by_the_beginning_of_its_name_only_if_that_is_unique(run_cli: Cli, home: Path) -> None:
    for name in ("drums-1", "drums-2", "waves"):
        (home / "runs" / name / "inbox").mkdir(parents=True)
        (home / "runs" / name / "run.toml").write_text("[run]\n")
    assert "could be 2 runs" in run_cli("stop", "drums").err
    assert "Did you mean 'waves'?" in run_cli("stop", "wavs").err
    assert "waves is not running" in run_cli("stop", "wa").err


def test_the_demo_never_touches_a_foreign_directory(run_cli: Cli, home: Path) -> None:
    (home / "mine").mkdir()
    (home / "mine" / "precious.txt").write_text("x")
    outcome = run_cli("demo", "--headless", "--dir", "mine")
    assert outcome.code == 4
    assert sorted(path.name for path in (home / "mine").iterdir()) == ["precious.txt"]


def test_the_demo_says_why_its_files_could_not_be_made(
    run_cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demos, "WRITER_MODULE", "sidestep_tui.no_such_module")
    outcome = run_cli("demo", "--headless", "--dir", "new")
    assert outcome.code == 70
    assert "no_such_module" in outcome.err
    assert not (home / "new" / "model").exists()
