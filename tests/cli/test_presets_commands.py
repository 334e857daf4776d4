"""`presets` on the command line: grouped, checked with a fix for every fault, nothing overwritten or hidden unsaid."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import Outcome

Cli = Callable[..., Outcome]
BAD = {"name": "recommended", "rank": "banana", "learning_rate": -5, "alpha": "32", "epochs": 100, "shift": 3}


def test_the_list_is_grouped_and_fits_80_columns(run_cli: Cli) -> None:
    lines = run_cli("presets", "list").out.splitlines()
    assert lines[0] == "Recommended"
    assert lines[1].startswith("  recommended ")
    assert max(map(len, lines)) <= 80
    headings = [line for line in lines if not line.startswith("  ")]
    listed = run_cli("presets", "list", "--json").json
    assert headings == list(dict.fromkeys(preset["group"] for preset in listed))
    assert all(preset["provenance"]["source"] for preset in listed)


def test_check_names_file_key_reason_and_fix_and_exits_with_4(run_cli: Cli, home: Path) -> None:
    (home / "bad.json").write_text(json.dumps(BAD))
    (home / "odd.toml").write_text('[adapter]\nrank = "eight"\nrnk = 3\n')
    outcome = run_cli("presets", "check", "recommended", "bad.json", "odd.toml", "nothing")
    assert outcome.code == 4
    assert "recommended is in order: preset, 20 settings." in outcome.out
    assert "bad.json: error: rank: adapter.rank must be a whole number, 1–512, not 'banana'." in outcome.out
    assert "  Write 64, for example." in outcome.out
    assert "odd.toml:2: error: adapter.rank" in outcome.out
    assert "Did you mean 'adapter.rank'?" in outcome.out
    assert "nothing: error: There is no preset 'nothing'." in outcome.out
    report = run_cli("presets", "check", "bad.json", "recommended", "--json")
    assert report.code == 4
    assert [(entry["file"], entry["ok"]) for entry in report.json] == [("bad.json", False), ("recommended", True)]
    wrong = {finding["key"]: finding for finding in report.json[0]["findings"]}
    assert wrong["learning_rate"]["severity"] == "error"
    assert wrong["shift"]["severity"] == "note"


def test_a_file_that_only_has_more_than_we_know_can_be_used(run_cli: Cli, home: Path) -> None:
    (home / "good.txt").write_text("rank = 16\nshift = 3.0\n")
    outcome = run_cli("presets", "check", "good.txt")
    assert outcome.code == 0
    assert "good.txt can be used: Python, 1 setting." in outcome.out


def test_import_never_takes_a_name_of_the_product_and_says_what_is_wrong(run_cli: Cli, home: Path) -> None:
    (home / "bad.json").write_text(json.dumps(BAD | {"cfg_ratio": 0.15}))
    assert run_cli("presets", "import", "bad.json", "--strict").code == 4
    dry = run_cli("presets", "import", "bad.json", "--dry-run", "--json").json
    assert (dry["name"], dry["path"]) == ("side-step_recommended", None)
    assert run_cli("presets", "show", "side-step_recommended").code == 4
    kept = run_cli("presets", "import", "bad.json")
    assert "Wrong: rank: adapter.rank must be a whole number" in kept.err
    assert "Saved as 'side-step_recommended'" in kept.err
    shown = run_cli("presets", "show", "side-step_recommended", "--json").json
    assert shown["values"] == {"adapter.alpha": 32.0}
    assert shown["provenance"]["left_out"]["shift"].startswith("a setting of generation")


def test_settings_are_imported_from_standard_input(run_cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    pasted: Any = io.TextIOWrapper(io.BytesIO(b"--rank 48 --lora-alpha 24\n"))
    monkeypatch.setattr("sys.stdin", pasted)
    assert run_cli("presets", "import", "-", "--name", "pasted").code == 0
    assert run_cli("presets", "show", "pasted", "--json").json["values"] == {"adapter.rank": 48, "adapter.alpha": 24.0}


def test_presets_of_ones_own_are_copied_renamed_and_deleted_with_a_word(run_cli: Cli, home: Path) -> None:
    assert run_cli("presets", "duplicate", "recommended", "mine", "-s", "adapter.rank=48").code == 0
    assert run_cli("presets", "diff", "mine", "recommended", "--json").json == {
        "adapter.rank": {"mine": 48, "recommended": 64}
    }
    assert run_cli("presets", "rename", "mine", "drums").code == 0
    assert run_cli("presets", "rename", "drums", "recommended").code == 4
    refused = run_cli("presets", "delete", "drums")
    assert refused.code == 4
    assert "--yes" in refused.err
    assert run_cli("presets", "delete", "drums", "--yes").code == 0
    assert run_cli("presets", "show", "drums").code == 4


def test_a_preset_of_the_folder_says_whom_it_hides(run_cli: Cli, home: Path) -> None:
    (home / "presets").mkdir()
    (home / "presets" / "recommended.toml").write_text("[adapter]\nrank = 5\n")
    for command in (["show", "recommended"], ["list"]):
        outcome = run_cli("presets", *command)
        assert outcome.code == 0
        assert "it hides the one of that name that is the product's" in outcome.err
    assert "passed over for another" in run_cli("presets", "list").out


def test_show_marks_what_has_no_effect(run_cli: Cli, home: Path) -> None:
    (home / "odd.toml").write_text('[adapter]\nkind = "lokr"\nrank = 4\n')
    shown = run_cli("presets", "show", "odd.toml")
    assert shown.out == '[adapter]\nkind = "lokr"\nrank = 4\n'
    assert "No effect: adapter.rank" in shown.err
    assert "no effect: " in run_cli("presets", "show", "odd.toml", "--resolved").out
    assert list(run_cli("presets", "show", "odd.toml", "--json").json["inert"]) == ["adapter.rank"]


def test_show_says_where_the_numbers_come_from(run_cli: Cli) -> None:
    assert 'source = "the psytrance guide' in run_cli("presets", "show", "psytrance_3090").out
    resolved = run_cli("presets", "show", "psytrance_3090", "--resolved")
    assert "From the psytrance guide for the RTX 3090." in resolved.err


def test_an_export_goes_to_standard_output_and_to_side_step(run_cli: Cli, home: Path) -> None:
    assert "rank = 128" in run_cli("presets", "export", "vram_24gb_plus", "-").out
    outcome = run_cli("presets", "export", "aggressive_24gb", "theirs.json")
    assert outcome.code == 0
    assert "Side-Step has no word for it: adapter.rslora = true" in outcome.err
    assert json.loads((home / "theirs.json").read_text())["rank"] == 256
    assert run_cli("presets", "export", "aggressive_24gb", "theirs.json").code == 4


def test_many_files_are_imported_at_once_and_one_bad_one_stops_none(run_cli: Cli, home: Path) -> None:
    (home / "a.json").write_text(json.dumps({"rank": 8}))
    (home / "b.json").write_text("[]")
    (home / "c.json").write_text(json.dumps({"rank": 9}))
    assert run_cli("presets", "import", "a.json", "c.json", "--name", "x").code == 2
    outcome = run_cli("presets", "import", "a.json", "b.json", "c.json", "--json")
    assert outcome.code == 4
    assert [made["name"] for made in outcome.json] == ["a", "c"]
    assert "b.json is not a preset" in outcome.err


def test_a_preset_of_ours_is_imported_with_its_comments(run_cli: Cli, home: Path) -> None:
    assert run_cli("presets", "export", "vram_8gb", "friends.toml").code == 0
    (home / "friends.toml").write_text((home / "friends.toml").read_text() + "# thank you\n")
    assert run_cli("presets", "import", "friends.toml").code == 0
    shown = run_cli("presets", "show", "friends")
    assert "# thank you" in shown.out
    assert run_cli("presets", "diff", "friends", "vram_8gb", "--json").json == {}
    fields = run_cli("presets", "show", "friends", "--json").json
    assert fields["provenance"]["source"].startswith("vram_8gb.json of the ace-lora-trainer guide")
    assert fields["requires"] == {"vram_gib": 7.0}
