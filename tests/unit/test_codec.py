"""TOML in and out: refusals name file, line and key; run.toml repeats a run."""

from __future__ import annotations

import errno
import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep_tui.core.errors import DiskFullError, SettingsError
from sidestep_tui.schema import codec
from sidestep_tui.schema.layers import Layer, resolve
from sidestep_tui.schema.problems import SettingsProblems
from sidestep_tui.schema.run import RunFile, read_run, write_run


def _write(tmp_path: Path, content: str | bytes, name: str = "some.toml") -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_written_preset_reads_back_and_keeps_its_comment(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    values = {"optim.lr": 7e-5, "adapter.projections": ("q", "v"), "adapter.rank": 32, "data.tag": 'say "hi" # not'}
    codec.write_preset(
        path,
        values,
        comment="When: at night.\n\nRun: it",
        description="Mine.",
        extends="base",
        requires={"vram_gib": 11.0},
    )
    content = path.read_text()
    assert content.startswith("# When: at night.\n\n# Run: it\n")
    data = codec.read_toml(path)
    assert (data["schema_version"], data["description"], data["extends"]) == (1, "Mine.", "base")
    assert data["requires"] == {"vram_gib": 11.0}
    again, problems = codec.document_values(
        codec.read_document(path), ignore=("schema_version", "description", "extends", "requires")
    )
    assert problems == []
    assert again == values


def test_a_comment_cannot_break_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    codec.write_preset(path, {"adapter.rank": 3}, comment="bell \x07\r[adapter]\x00\x7f\n\n# two")
    assert codec.read_toml(path)["adapter"] == {"rank": 3}


def test_groups_are_written_in_the_order_of_the_form(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    codec.write_preset(path, {"output.keep_last": 3, "train.epochs": 5, "adapter.alpha": 2.0, "adapter.rank": 1})
    headers = [line for line in path.read_text().splitlines() if line.startswith("[")]
    assert headers == ["[adapter]", "[train]", "[output]"]
    assert path.read_text().index("rank") < path.read_text().index("alpha")


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("[adapter]\nrank = \n", ["some.toml is not valid TOML", "line 2"]),
        ("[adapter\n", ["not valid TOML", "line 1"]),
        ("[adapter]\n[adapter]\n", ["not valid TOML"]),
        (b"\xff\xfe\x00", ["not a text file"]),
        (b"rank = 1\ntag = '\xe4'\n", ["Line 2 is not UTF-8"]),
    ],
)
def test_what_is_not_toml_is_refused_with_the_line(tmp_path: Path, content: str | bytes, parts: list[str]) -> None:
    with pytest.raises(SettingsError) as refusal:
        codec.read_toml(_write(tmp_path, content))
    assert all(part in str(refusal.value) for part in parts)


def test_missing_directory_and_huge_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"There is no file .*gone\.toml"):
        codec.read_toml(tmp_path / "gone.toml")
    with pytest.raises(SettingsError, match="is a directory"):
        codec.read_toml(tmp_path)
    with pytest.raises(SettingsError, match="too large"):
        codec.read_toml(_write(tmp_path, b"#" * 1_100_000))


def test_a_byte_order_mark_is_no_obstacle(tmp_path: Path) -> None:
    assert codec.read_toml(_write(tmp_path, b"\xef\xbb\xbfa = 1\n")) == {"a": 1}


def test_every_problem_is_named_with_its_line(tmp_path: Path) -> None:
    content = '[adaptr]\nrank = 3\n[adapter]\nrnk = 3\nrank = "banana"\n\n[train]\nepochs = 0\nseed = 1.5\nmemory = 3\n'
    with pytest.raises(SettingsProblems) as refusal:
        codec.read_values(codec.read_document(_write(tmp_path, content + "[optim]\nlr = inf\n")))
    found = {(problem.path, problem.line) for problem in refusal.value.problems}
    assert found == {
        ("adaptr", 1),
        ("adapter.rnk", 4),
        ("adapter.rank", 5),
        ("train.epochs", 8),
        ("train.seed", 9),
        ("train.memory", 10),
        ("optim.lr", 12),
    }
    assert "some.toml" in refusal.value.title
    assert "Did you mean 'adapter'?" in refusal.value.message
    assert "Did you mean 'adapter.rank'?" in refusal.value.message


def test_lines_are_found_in_every_spelling_of_toml() -> None:
    content = 'adapter.rank = 1\n["optim"]\n"lr" = 2\n[ train ]\n  epochs=3\noutput = 4\n'
    assert codec.line_of(content, "adapter.rank") == 1
    assert codec.line_of(content, "optim.lr") == 3
    assert codec.line_of(content, "train.epochs") == 5
    assert codec.line_of(content, "memory.device") == 0


def test_a_group_that_is_no_table_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"must be a \[adapter\] table"):
        codec.flatten({"adapter": 3})
    assert codec.flatten({"adapter": {"rank": 3}, "run": 1}, ignore=("run",)) == {"adapter.rank": 3}


@pytest.mark.parametrize(
    ("version", "sentence"),
    [(2, "newer release"), ("1", "unusable"), (0, "unusable"), (True, "unusable"), (1.0, "unus")],
)
def test_a_foreign_schema_version_is_refused(version: Any, sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        codec.check_version(version, "x.toml")


def test_a_full_disk_keeps_the_previous_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.toml"
    codec.write_preset(path, {"adapter.rank": 8})

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFullError, match="The disk is full"):
        codec.write_preset(path, {"adapter.rank": 9})
    assert codec.read_toml(path)["adapter"]["rank"] == 8
    assert [item.name for item in tmp_path.iterdir()] == ["mine.toml"]


def _run() -> RunFile:
    resolved = resolve([Layer("preset drums", {"adapter.rank": 8, "optim.lr": 7e-5, "adapter.projections": ("q",)})])
    return RunFile(
        name="drums_v3",
        settings=resolved.settings,
        origins=resolved.origins,
        preset="drums",
        created="2026-11-21T08:00:00+00:00",
        product_version="0.1.0",
        versions={"python": "3.11.7"},
        fingerprints={"model": "abc"},
        extra={"fake": {"steps": 3}},
    )


def test_a_run_file_reads_back_exactly(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    write_run(path, _run())
    assert read_run(path) == _run()
    data = codec.read_toml(path)
    assert list(data) == [
        *("run", "model", "data", "adapter", "optim", "train", "memory", "speed", "output"),
        *("origins", "versions", "fingerprints", "fake"),
    ]
    assert data["origins"]["adapter.rank"] == "preset drums"
    assert data["run"]["schema_version"] == 1


def test_a_run_file_names_what_is_wrong_in_it(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    write_run(path, _run())
    path.write_text(path.read_text().replace("rank = 8", 'rank = "eight"').replace("epochs = 100", "epochs = -1", 1))
    with pytest.raises(SettingsProblems) as refusal:
        read_run(path)
    assert {problem.path for problem in refusal.value.problems} == {"adapter.rank", "train.epochs"}
    assert all(problem.line for problem in refusal.value.problems)


def test_a_run_file_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    write_run(path, _run())
    path.write_text(path.read_text().replace("schema_version = 1", "schema_version = 9"))
    with pytest.raises(SettingsError, match="newer release"):
        read_run(path)


def test_a_preset_is_not_a_run_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not a run file"):
        read_run(_write(tmp_path, "[adapter]\nrank = 3\n"))


@settings(deadline=None)  # the machine may be busy
@given(
    st.floats(1e-300, 1.0, exclude_min=True),
    st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), max_size=20),
)
def test_numbers_and_texts_survive_toml_bit_for_bit(lr: float, tag: str) -> None:
    data = tomllib.loads(codec.toml_text(codec.unflatten({"optim.lr": lr, "data.tag": tag})))
    assert data["optim"]["lr"] == lr
    assert data["data"]["tag"] == tag
