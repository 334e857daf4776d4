"""Loading at real size takes the memory of the result and no more."""

from __future__ import annotations

import json
import struct
import sys
import threading
from pathlib import Path

import pytest
import torch

from sidestep_tui.engine import keymap, weights

REAL = {
    "hidden_size": 2560,
    "intermediate_size": 9728,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "encoder_hidden_size": 2048,
    "encoder_intermediate_size": 6144,
    "encoder_num_attention_heads": 16,
    "encoder_num_key_value_heads": 8,
    "text_hidden_dim": 1024,
    "timbre_hidden_dim": 64,
    "num_lyric_encoder_hidden_layers": 8,
    "num_timbre_encoder_hidden_layers": 4,
    "is_turbo": False,
    "model_version": "base",
}


def write_zeros(path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """A float32 safetensors file whose data is a hole, so that it takes no disk."""
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 4 * torch.Size(shape).numel()
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    raw = json.dumps(header).encode()
    with path.open("wb") as handle:
        handle.write(struct.pack("<Q", len(raw)) + raw)
        handle.truncate(8 + len(raw) + end)


class Peak:
    """The largest private memory of this process within a `with` block, above what it had before."""

    def __enter__(self) -> Peak:
        self.start = self.most = self.now()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self.bytes = max(self.most, self.now()) - self.start

    def _watch(self) -> None:
        while not self._done.wait(0.01):
            self.most = max(self.most, self.now())

    @staticmethod
    def now() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) * 1024


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_float32_files_load_to_bfloat16_without_a_second_copy(tiny_checkpoint: Path, tmp_path: Path) -> None:
    from diffusers.pipelines.ace_step.modeling_ace_step import AceStepConditionEncoder

    directory = tmp_path / "acestep-v15-xl-base"
    directory.mkdir()
    with torch.device("meta"):
        encoder = AceStepConditionEncoder(**keymap.condition_encoder_config(REAL))
    shapes = {
        original: tuple(tensor.shape)
        for key, tensor in encoder.state_dict().items()
        if (original := keymap.key_to_original("condition_encoder", key)) is not None
    }
    write_zeros(directory / "model.safetensors", shapes)
    (directory / "config.json").write_text(json.dumps(REAL))
    (directory / "silence_latent.pt").write_bytes((tiny_checkpoint / "silence_latent.pt").read_bytes())
    ckpt = weights.find_checkpoint(directory, components=tiny_checkpoint.parent)
    assert ckpt.variant == "xl-base"
    with Peak() as peak:
        loaded = weights.load_condition_encoder(ckpt, torch.bfloat16)
    count = sum(parameter.numel() for parameter in loaded.parameters())
    assert count == 608_369_664
    # The lower bound only shows that something was measured: the allocator may hand out what an earlier test gave back.
    assert 2 * count * 0.5 < peak.bytes < 2 * count * 1.15
