"""Keeping presets: saved, renamed, copied, exported and deleted without losing a comment or hiding anything unsaid."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sidestep_tui.core import paths
from sidestep_tui.core.errors import SettingsError
from sidestep_tui.schema import codec, presets
from sidestep_tui.schema.layers import Layer, resolve
from sidestep_tui.schema.presets import Provenance
from sidestep_tui.schema.run import RunFile, write_run

WRITTEN = """\
# When: at night.
# Run: sidestep-tui train mine --model DIR

schema_version = 1
description = "Mine."  # yes
extends = "recommended"

[adapter]
# twice the usual
rank = 32  # small
alpha = 128.0

[optim]
lr = 1e-4
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without presets, in an empty folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


def test_a_pipe_among_the_presets_keeps_nobody_waiting() -> None:
    os.mkfifo(paths.user_presets_dir() / "pipe.toml")
    assert "recommended" in {preset.name for preset in presets.list_presets()}


def test_what_others_extend_is_not_put_on_top_of_another() -> None:
    presets.save("base", {"adapter.rank": 8})
    presets.save("child", {"adapter.rank": 9}, extends="base")
    with pytest.raises(SettingsError, match="child would stand on two"):
        presets.save("base", {"adapter.rank": 10}, overwrite=True, extends="recommended")
    assert presets.find("child").values["adapter.rank"] == 9


def _mine(content: str = WRITTEN, name: str = "mine") -> Path:
    path = paths.user_presets_dir() / f"{name}.toml"
    path.write_text(content)
    return path


def _project(name: str, content: str = "[adapter]\nrank = 5\n") -> Path:
    path = Path("presets") / f"{name}.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    return path


def test_only_what_differs_is_saved() -> None:
    values = {"adapter.rank": 24, "adapter.alpha": 128.0, "optim.lr": 1e-4, "memory.base": "full"}
    saved = presets.save("mine", values)
    # The machine may suggest another base, so that one is worth saying.
    assert saved.own == {"adapter.rank": 24, "memory.base": "full"}
    extending = presets.save("child", {"adapter.rank": 24, "adapter.dropout": 0.0}, extends="recommended")
    assert extending.own == {"adapter.rank": 24, "adapter.dropout": 0.0}
    assert resolve(extending.layers()).value("adapter.dropout") == 0.0


def test_saving_again_keeps_comments_and_spelling() -> None:
    path = _mine()
    values = {"adapter.rank": 48, "adapter.alpha": 128.0, "optim.lr": 1e-4, "train.epochs": 7}
    saved = presets.save("mine", values, overwrite=True, extends="recommended")
    assert saved.values["adapter.rank"] == 48
    assert path.read_text() == WRITTEN.replace("rank = 32", "rank = 48") + "\n[train]\nepochs = 7\n"
    presets.save("mine", {"adapter.rank": 48}, overwrite=True, description="Other.")
    text = path.read_text()
    assert 'description = "Other."  # yes' in text
    assert "# twice the usual" in text
    assert "extends" not in text
    assert "[optim]" not in text


def test_a_file_that_is_no_toml_can_be_overwritten() -> None:
    path = _mine("[adapter\n")
    with pytest.raises(SettingsError, match="already"):
        presets.save("mine", {"adapter.rank": 3})
    presets.save("mine", {"adapter.rank": 3}, overwrite=True)
    assert codec.read_toml(path)["adapter"] == {"rank": 3}


def test_a_renamed_preset_keeps_its_text_and_those_that_extend_it() -> None:
    _mine(WRITTEN.replace('extends = "recommended"\n', ""))
    _mine('extends = "mine"  # base\n[adapter]\nrank = 9\n', "child")
    renamed = presets.rename("mine", "ours")
    assert renamed.path.read_text() == WRITTEN.replace('extends = "recommended"\n', "").replace("mine", "ours")
    assert presets.find("child").extends == "ours"
    assert "# base" in presets.find("child").path.read_text()
    with pytest.raises(SettingsError, match="no preset 'mine'"):
        presets.find("mine")


@pytest.mark.parametrize(
    ("new", "sentence"),
    [
        ("recommended", "preset of the product"),
        ("other", "a preset 'other' already"),
        ("a/b", "cannot be the name"),
        ("", "cannot be the name"),
    ],
)
def test_a_name_that_is_taken_or_none_is_refused_by_all(new: str, sentence: str) -> None:
    _mine()
    _project("other")
    for attempt in (presets.rename, presets.duplicate):
        with pytest.raises(SettingsError, match=sentence):
            attempt("mine", new)
    assert sentence in presets.name_problem(new)
    assert presets.find("mine").values["adapter.rank"] == 32


def test_what_is_not_ones_own_is_neither_renamed_nor_deleted() -> None:
    for attempt in (lambda: presets.rename("recommended", "x"), lambda: presets.delete("recommended")):
        with pytest.raises(SettingsError, match="not a preset of your own"):
            attempt()
    assert not presets.find("recommended").is_own


def test_a_copy_of_a_shipped_preset_is_ones_own_with_its_comments() -> None:
    copy = presets.duplicate("vram_8gb", "mine")
    assert copy.is_own
    assert copy.values == presets.find("vram_8gb").values
    assert copy.group == ""
    content = copy.path.read_text()
    assert content.startswith("# When: ")
    assert "train mine --model" in content


def test_a_copy_of_a_run_is_its_recipe(home: Path) -> None:
    settings = resolve([Layer("x", {"adapter.rank": 7, "data.path": "/songs", "output.name": "drums"})]).settings
    write_run(home / "run.toml", RunFile("drums", settings))
    copy = presets.duplicate(presets.find(home / "run.toml"), "mine")
    assert copy.values == {"adapter.rank": 7, "memory.base": "full"}


def test_deleting_what_others_extend_is_refused() -> None:
    path = _mine(WRITTEN.replace('extends = "recommended"\n', ""))
    child = _mine('extends = "mine"\n[adapter]\nrank = 9\n', "child")
    with pytest.raises(SettingsError, match="'child' extends it"):
        presets.delete("mine")
    assert presets.delete("child") == child
    assert presets.delete("mine") == path
    assert not path.exists()


def test_an_exported_preset_stands_alone_with_its_comments(home: Path) -> None:
    _mine()
    found = presets.find("mine")
    out = presets.export("mine", home / "out.toml")
    exported = presets.read(out)
    assert (exported.extends, exported.values) == ("", found.values)
    assert exported.requires == found.requires
    assert "# twice the usual" in out.read_text()
    with pytest.raises(SettingsError, match="exists already"):
        presets.export("recommended", out)
    presets.export("recommended", out, overwrite=True)
    assert presets.read(out).values == presets.find("recommended").values
    (home / "folder").mkdir()
    assert presets.export("mine", home / "folder") == home / "folder" / "mine.toml"
    with pytest.raises(SettingsError, match=r"does not end in \.toml"):
        presets.export("mine", home / "out.json")


def test_a_preset_of_the_project_is_found_first_and_says_whom_it_hides() -> None:
    _project("recommended")
    _project("mine")
    _mine()
    found = presets.find("recommended")
    assert (found.source, found.hides) == ("project", ("shipped",))
    assert "it hides the one of that name that is the product's" in presets.hiding_note("recommended")
    assert presets.find("mine").hides == ("user",)
    listed = {(preset.source, preset.name): preset for preset in presets.list_presets()}
    assert listed["shipped", "recommended"].hidden
    assert listed["user", "mine"].hidden
    assert not listed["project", "mine"].hidden
    # What the product ships is not changed by it.
    assert presets.find("vram_16gb").values["adapter.rank"] == 64


def test_one_place_can_be_chosen_for_ones_own() -> None:
    saved = presets.save("mine", {"adapter.rank": 3}, place="project")
    assert (saved.source, saved.path) == ("project", Path("presets/mine.toml"))
    with pytest.raises(SettingsError, match=r"It is of this folder's presets/"):
        presets.save("mine", {"adapter.rank": 4}, overwrite=True)
    assert presets.rename("mine", "ours").path == Path("presets/ours.toml")


def test_provenance_survives_and_mistakes_in_it_are_named() -> None:
    told = Provenance("a file", {"adapter.rank": "too large"}, {"shift": "of generation"})
    saved = presets.save("mine", {"adapter.rank": 3}, provenance=told)
    assert saved.provenance == told
    assert presets.duplicate("mine", "copy").provenance == told
    assert presets.save("mine", {"adapter.rank": 4}, overwrite=True).provenance == told
    _mine('[provenance]\nsource = 3\nchanges = "x"\nchanged = "y"\n', "bad")
    with pytest.raises(SettingsError) as refusal:
        presets.find("bad")
    message = str(refusal.value)
    assert "line 2: provenance.source must be text" in message
    assert "line 3: There is nothing 'changes' in [provenance]. Did you mean 'changed'?" in message
    assert "line 4: provenance.changed must be a [provenance.changed] table" in message


@pytest.mark.parametrize(
    "content",
    [
        "adapter.rank = 3 # x\n\n[optim]\nlr=1e-3\n",
        "adapter = {rank = 3, alpha = 9.0} # x\n[optim]\nlr = 1e-3\n",
        "[adapter]\nrank = 3\n[optim]\nlr = 1e-3",
        "# x\n[adapter]\nrank = 3\n\n[optim]\n\n[memory]\nbase = 'int8'\n",
        "",
    ],
)
def test_every_spelling_of_toml_can_be_revised(content: str) -> None:
    values = {"adapter.alpha": 2.0, "adapter.rank": 4, "adapter.projections": ("q",), "train.epochs": 5}
    revised = codec.revised_text(content, values, head={"description": "new", "requires": {"vram_gib": 3.0}})
    path = _mine(revised)
    found = presets.read(path)
    assert found.values == values
    assert (found.description, found.requires) == ("new", {"vram_gib": 3.0})
    assert "# x" in revised or "# x" not in content
