"""Training on tensors of another trainer: what is repaired, what is said, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from sidestep_tui.core.errors import DataError, SidestepError
from sidestep_tui.dataset import adopted as folders
from sidestep_tui.dataset.manifest import ENCODED_FILE, scan
from sidestep_tui.engine import adopted, foreign_files, weights
from sidestep_tui.engine.encode import encode_dataset
from sidestep_tui.engine.loop import TrainingRun
from sidestep_tui.engine.reporter import Reporter
from sidestep_tui.engine.variants import Checkpoint, find_checkpoint
from sidestep_tui.protocol.tail import Tail
from sidestep_tui.schema.settings import Settings
from tests.engine.test_foreign import METADATA, final


@pytest.fixture(scope="module")
def base(tiny_checkpoint: Path) -> Checkpoint:
    return find_checkpoint(tiny_checkpoint)


@pytest.fixture(scope="module")
def width(base: Checkpoint) -> int:
    return int(weights.load_null_condition(base).shape[-1])


@pytest.fixture
def tensors(tmp_path: Path, width: int) -> Path:
    """Three usable songs and two that are not."""
    folder = tmp_path / "tensors"
    (folder / "deep").mkdir(parents=True)
    for number, name in enumerate(("a", "b", "deep/c")):
        words = {**METADATA, "caption": f"song {name}", "repeat": number}
        torch.save(final(width=width, real=30 + number, metadata=words), folder / f"{name}.pt")
    torch.save(final(width=width, target_latents=torch.full((100, 64), 1e6)), folder / "large.pt")
    torch.save({"target_latents": torch.zeros(9, 64)}, folder / "half.tmp.pt")
    return folder


def adopt(folder: Path, out: Path, variant: str = "turbo") -> dict[str, Any]:
    request = {"folder": str(folder), "out": str(out), "variant": variant}
    return list(foreign_files.answer(request))[-1]["result"]


def load(folder: Path, base: Checkpoint) -> Any:
    return encode_dataset(
        scan(folder, may_be_tensors=True),
        base,
        Settings(),
        "cpu",
        torch.float32,
        lambda *_: None,
        should_stop=lambda: False,
    )


def test_adopted_songs_are_what_they_were_without_padding(tensors, tmp_path, base):
    out = tmp_path / "new" / "adopted"
    result = adopt(tensors, out)
    assert result["songs"] == ["a", "b", "deep/c"]
    assert {item["path"] for item in result["left_out"]} == {"large.pt", "half.tmp.pt"}
    dataset = load(out, base)
    assert [song.name for song in dataset.songs] == ["a", "b", "deep/c"]
    original = torch.load(tensors / "b.pt", weights_only=True)
    song = dataset.songs[1]
    assert (song.frames, song.tokens, song.repeats, song.prompt) == (100, 31, 1, "song b")
    assert torch.equal(song.latents(), original["target_latents"].half().float())
    assert torch.equal(song.condition(), original["encoder_hidden_states"][:31])
    assert dataset.songs[2].repeats == 2
    assert dataset.fingerprint == load(out, base).fingerprint


def test_the_folder_is_shown_with_its_defects(tensors, tmp_path):
    out = tmp_path / "adopted"
    adopt(tensors, out)
    manifest = scan(out, may_be_tensors=True)
    song = manifest.song("a")
    assert (song.caption, song.duration) == ("song a", 4.0)
    said = " ".join(manifest.warnings)
    assert "No timbre reference (every song)" in said
    assert "Padding" not in said
    assert "changes nothing" in said


def test_a_run_trains_on_them_and_repeats_the_warnings(tensors, tmp_path, new_adopted_run):
    out = tmp_path / "adopted"
    adopt(tensors, out)
    run_dir = new_adopted_run(out)
    told = Tail(run_dir.events).read(limit_bytes=2**30)
    assert sum(event["type"] == "step" for event in told) == 2
    assert any("timbre" in event.get("msg", "") for event in told if event["type"] == "warning")
    assert (run_dir.adapter / "final").is_dir()


@pytest.fixture
def new_adopted_run(tiny_checkpoint, tmp_path):
    from sidestep_tui.engine.control import Orders
    from sidestep_tui.protocol.rundir import RunDir
    from sidestep_tui.schema.run import RunFile, write_run

    class Control:
        def __getattr__(self, name: str) -> Any:
            return {"poll": Orders}.get(name, lambda: False)

    def carry_out(folder: Path) -> RunDir:
        settings = Settings.model_validate(
            {
                "model": {"path": str(tiny_checkpoint)},
                "data": {"path": str(folder), "crop_seconds": 2.0, "cache": str(tmp_path / "cache")},
                "adapter": {"rank": 4, "alpha": 8.0},
                "train": {"epochs": 2, "best_after": 0},
                "memory": {"device": "cpu", "gradient_checkpointing": False},
            }
        )
        run_dir = RunDir.create(tmp_path / "runs", "adopted")
        write_run(run_dir.run_toml, RunFile(name="adopted", settings=settings))
        with Reporter(run_dir, "test", sample_seconds=0) as reporter:
            assert TrainingRun(run_dir, reporter, Control()).carry_out() == "finished"
        return run_dir

    return carry_out


def test_another_model_is_refused(tensors, tmp_path, base):
    adopt(tensors, tmp_path / "other", variant="acestep-v15-sft")
    with pytest.raises(DataError, match="made for another model") as caught:
        load(tmp_path / "other", base)
    assert "sft" in caught.value.message
    adopt(tensors, tmp_path / "unknown", variant="my own")
    load(tmp_path / "unknown", base)
    document = json.loads((tmp_path / "unknown" / ENCODED_FILE).read_text())
    (tmp_path / "unknown" / ENCODED_FILE).write_text(json.dumps({**document, "width": 7}))
    with pytest.raises(DataError, match="made for another model"):
        load(tmp_path / "unknown", base)


def test_nothing_is_overwritten_and_nothing_half_done_is_left(tensors, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(DataError, match="there already"):
        adopt(tensors, out)
    torch.save(final(width=7), tensors / "z.pt")
    with pytest.raises(DataError, match="different models"):
        adopt(tensors, tmp_path / "mixed")
    hopeless = tmp_path / "hopeless"
    hopeless.mkdir()
    (hopeless / "x.pt").write_bytes(b"x")
    with pytest.raises(DataError, match="No tensors here"):
        adopt(hopeless, tmp_path / "none")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hopeless", "out", "tensors"]
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "b"},
        {"latents": "../../secret"},
        {"latents": "/etc/passwd"},
        {"condition": "conditions/gone.safetensors"},
        {"frames": -1},
        {"frames": "many"},
        {"repeats": 10**9},
        {"words": ["x"]},
        {"defects": 5},
    ],
    ids=str,
)
def test_a_damaged_description_is_refused(tensors, tmp_path, change):
    out = tmp_path / "adopted"
    adopt(tensors, out)
    document = json.loads((out / ENCODED_FILE).read_text())
    document["songs"][0].update(change)
    (out / ENCODED_FILE).write_text(json.dumps(document))
    with pytest.raises(DataError, match=ENCODED_FILE):
        folders.read(out)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 1, "songs": []}', '{"format": 2, "songs": [1]}', "[" * 99999]
)
def test_an_odd_file_of_that_name_is_refused(tmp_path, text):
    (tmp_path / ENCODED_FILE).write_text(text)
    with pytest.raises(SidestepError, match=ENCODED_FILE):
        scan(tmp_path)


def test_damaged_tensors_are_refused(tensors, tmp_path, base):
    out = tmp_path / "adopted"
    adopt(tensors, out)
    next((out / "condition").iterdir()).write_bytes(b"x")
    with pytest.raises(DataError):
        load(out, base)
    assert adopted._variant("ACEStep_v15_XL_Base") == "xl-base"
