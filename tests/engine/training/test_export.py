"""Exports against the loaders that others use: stock diffusers and peft."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from diffusers import AceStepPipeline
from peft import PeftModel
from safetensors import safe_open
from safetensors.torch import load_file

from sidestep_tui.core.errors import AdapterError, DivergedError, RunError
from sidestep_tui.engine import adapters, export, weights
from sidestep_tui.schema.settings import Settings

VARIATIONS = [
    {"alpha": 3.0},
    {"alpha": 4.0},
    {"alpha": 7.5, "rslora": True},
    {"alpha": 8.0, "mlp": True},
    {"alpha": 8.0, "attention": "self", "projections": ("q", "v")},
    {"alpha": 8.0, "kind": "dora", "mlp": True},
]
NAMELESS_TO_DIFFUSERS = [
    {"alpha": 3.0, "attention": "none", "mlp": True},
    {"alpha": 9.0, "projections": ("v", "o"), "rslora": True},
]


def randomise(transformer: torch.nn.Module, seed: int = 3) -> None:
    source = torch.Generator().manual_seed(seed)
    for parameter in adapters.trainable(transformer).values():
        parameter.data = parameter.data + 0.1 * torch.randn(parameter.shape, generator=source)


def provenance(run: str = "drums") -> export.Provenance:
    return export.Provenance(run, "2026-11-21", 10, 2, 0.5, "acestep-v15-turbo", "turbo", "drms")


def trained_and_exported(new_transformer, settings: Settings, directory: Path) -> torch.nn.Module:
    trained = new_transformer()
    adapters.inject(trained, settings.adapter)
    randomise(trained)
    export.publish(directory, trained, settings, provenance())
    return trained


def through_stock_diffusers(transformer: torch.nn.Module, path: Path) -> torch.Tensor:
    nothing = dict.fromkeys(("vae", "text_encoder", "tokenizer", "condition_encoder", "scheduler"))
    AceStepPipeline(transformer=transformer, **nothing).load_lora_weights(str(path))
    return export.probe(transformer, dtype=torch.float32)


@pytest.mark.parametrize("adapter", VARIATIONS)
def test_stock_diffusers_and_our_loader_agree_to_the_last_bit(new_transformer, new_settings, tmp_path, adapter):
    settings = new_settings(adapter=adapter)
    trained = trained_and_exported(new_transformer, settings, tmp_path / "final")
    expected = export.probe(trained, dtype=torch.float32)
    ours = new_transformer()
    adapters.load_adapter(ours, tmp_path / "final")
    assert torch.equal(export.probe(ours, dtype=torch.float32), expected)
    assert torch.equal(through_stock_diffusers(new_transformer(), tmp_path / "final"), expected)


@pytest.mark.parametrize("adapter", NAMELESS_TO_DIFFUSERS)
def test_adapters_that_diffusers_would_skip_bring_a_file_that_it_reads(
    new_transformer, new_settings, tmp_path, adapter
):
    settings = new_settings(adapter=adapter)
    trained = trained_and_exported(new_transformer, settings, tmp_path / "final")
    expected = export.probe(trained, dtype=torch.float32)
    assert torch.equal(through_stock_diffusers(new_transformer(), tmp_path / "final" / "diffusers"), expected)
    assert 'load_lora_weights("this-directory/diffusers")' in (tmp_path / "final" / "README.md").read_text()


class OriginalNames(torch.nn.Module):
    """A transformer under the module names of the original code, as ACE-Step's own app holds it."""

    def __init__(self, transformer: torch.nn.Module) -> None:
        super().__init__()
        self.inner = [transformer]
        self.layers = torch.nn.ModuleList()
        for layer in transformer.layers:
            renamed = torch.nn.Module()
            for block in ("self_attn", "cross_attn"):
                source, target = getattr(layer, block), torch.nn.Module()
                for original, linear in zip(
                    ("q_proj", "k_proj", "v_proj", "o_proj"),
                    (source.to_q, source.to_k, source.to_v, source.to_out[0]),
                    strict=True,
                ):
                    target.add_module(original, linear)
                renamed.add_module(block, target)
            renamed.mlp = layer.mlp
            self.layers.append(renamed)

    def adopt(self) -> torch.nn.Module:
        """Put the (by now adapted) modules back into the transformer and return it."""
        for layer, renamed in zip(self.inner[0].layers, self.layers, strict=True):
            for block in ("self_attn", "cross_attn"):
                source, target = getattr(renamed, block), getattr(layer, block)
                target.to_q, target.to_k, target.to_v = source.q_proj, source.k_proj, source.v_proj
                target.to_out[0] = source.o_proj
        return self.inner[0]


@pytest.mark.parametrize("adapter", VARIATIONS + NAMELESS_TO_DIFFUSERS)
def test_peft_loads_the_directory_onto_the_original_names(new_transformer, new_settings, tmp_path, adapter):
    """What ACE-Step's own app does: `PeftModel.from_pretrained(model.decoder, directory)`."""
    settings = new_settings(adapter=adapter)
    trained = trained_and_exported(new_transformer, settings, tmp_path / "final")
    named = OriginalNames(new_transformer())
    wrapped = PeftModel.from_pretrained(named, str(tmp_path / "final"))
    loaded = {name.replace(".default", "") for name in wrapped.state_dict() if ".lora_" in name}
    saved = load_file(tmp_path / "final" / adapters.WEIGHTS_FILE)
    assert {name.removesuffix(".weight") for name in loaded} == {name.removesuffix(".weight") for name in saved}
    answer = export.probe(named.adopt(), dtype=torch.float32)
    assert (answer - export.probe(trained, dtype=torch.float32)).abs().max() == 0.0


def test_the_file_says_where_it_comes_from_and_hides_no_path(new_transformer, new_settings, tmp_path):
    settings = new_settings(adapter={"alpha": 16.0}, data={"tag": "drms", "path": "/home/me/songs"})
    trained_and_exported(new_transformer, settings, tmp_path / "final")
    with safe_open(tmp_path / "final" / adapters.WEIGHTS_FILE, framework="pt") as handle:
        metadata = handle.metadata()
    assert json.loads(metadata["sidestep_tui"])["run"] == "drums"
    config = json.loads((tmp_path / "final" / "adapter_config.json").read_text())
    assert config["lora_alpha"] == 16
    assert isinstance(config["lora_alpha"], int)
    assert config["peft_type"] == "LORA"
    assert config["target_modules"] == ["q_proj", "k_proj", "v_proj", "o_proj"]
    card = (tmp_path / "final" / "README.md").read_text()
    for expected in ("drms", "turbo", "Rank, alpha | 4, 16", "set the strength to 4", "mean loss of training 0.5"):
        assert expected in card
    for path in (tmp_path / "final").rglob("*"):
        assert b"/home/me" not in (path.read_bytes() if path.is_file() else b"")


def test_the_same_adapter_is_the_same_file_every_time(new_transformer, new_settings, tmp_path):
    written = set()
    for number in range(6):
        trained_and_exported(new_transformer, new_settings(), tmp_path / str(number))
        written.add((tmp_path / str(number) / adapters.WEIGHTS_FILE).read_bytes())
    assert len(written) == 1
    header_length = int.from_bytes(next(iter(written))[:8], "little")
    assert header_length % 8 == 0  # tensors stay aligned for readers that map the file


def test_an_export_of_another_run_is_never_overwritten(new_transformer, new_settings, tmp_path):
    settings = new_settings()
    trained = trained_and_exported(new_transformer, settings, tmp_path / "final")
    before = (tmp_path / "final" / adapters.WEIGHTS_FILE).read_bytes()
    randomise(trained, seed=9)
    with pytest.raises(RunError, match="another adapter"):
        export.publish(tmp_path / "final", trained, settings, provenance("other"))
    assert (tmp_path / "final" / adapters.WEIGHTS_FILE).read_bytes() == before
    export.publish(tmp_path / "final", trained, settings, provenance())
    assert (tmp_path / "final" / adapters.WEIGHTS_FILE).read_bytes() != before
    assert [path.name for path in tmp_path.iterdir()] == ["final"]


def test_a_foreign_directory_is_never_overwritten(new_transformer, new_settings, tmp_path):
    (tmp_path / "final").mkdir()
    (tmp_path / "final" / "thesis.txt").write_text("irreplaceable")
    with pytest.raises(RunError, match="another adapter"):
        trained_and_exported(new_transformer, new_settings(), tmp_path / "final")
    assert (tmp_path / "final" / "thesis.txt").read_text() == "irreplaceable"


def test_a_kill_between_the_renames_loses_neither_version(new_transformer, new_settings, tmp_path):
    settings = new_settings()
    trained = trained_and_exported(new_transformer, settings, tmp_path / "best")
    (tmp_path / "best").rename(tmp_path / ".best.old")
    (tmp_path / ".best.new").mkdir()
    (tmp_path / "..best.new.k1ll3d.tmp").mkdir()
    export.recover(tmp_path / "best")
    assert (tmp_path / "best" / adapters.WEIGHTS_FILE).is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["best"]
    export.publish(tmp_path / "best", trained, settings, provenance())


def test_weights_that_are_not_numbers_never_replace_good_ones(new_transformer, new_settings, tmp_path):
    settings = new_settings()
    trained = trained_and_exported(new_transformer, settings, tmp_path / "best")
    before = (tmp_path / "best" / adapters.WEIGHTS_FILE).read_bytes()
    next(iter(adapters.trainable(trained).values())).data.fill_(math.nan)
    with pytest.raises(DivergedError):
        export.publish(tmp_path / "best", trained, settings, provenance())
    assert (tmp_path / "best" / adapters.WEIGHTS_FILE).read_bytes() == before


def test_verification_notices_a_single_changed_weight(new_transformer, new_settings, tmp_path):
    settings = new_settings()
    trained = trained_and_exported(new_transformer, settings, tmp_path / "final")
    expected = export.probe(trained, dtype=torch.float32)
    assert export.verify(tmp_path / "final", new_transformer(), expected, dtype=torch.float32) > 0
    next(iter(adapters.trainable(trained).values())).data[0, 0] += 1e-3
    changed = export.probe(trained, dtype=torch.float32)
    with pytest.raises(AdapterError, match="differs by up to"):
        export.verify(tmp_path / "final", new_transformer(), changed, dtype=torch.float32)


@pytest.mark.parametrize("adapter", [{}, {"kind": "dora", "mlp": True}, {"rslora": True, "dropout": 0.2}])
def test_a_bfloat16_base_is_verified_to_the_last_bit_too(new_trainer, new_transformer, new_settings, tmp_path, adapter):
    settings = new_settings(adapter=adapter)
    trainer = new_trainer(settings, dtype=torch.bfloat16)
    assert not trainer.step().skipped
    export.publish(tmp_path / "final", trainer.transformer, settings, provenance())
    expected = export.probe(trainer.transformer, dtype=torch.bfloat16)
    fresh = new_transformer().to(torch.bfloat16)
    assert export.verify(tmp_path / "final", fresh, expected, dtype=torch.bfloat16) == len(
        adapters.state_dict(trainer.transformer)
    )


@pytest.mark.parametrize("adapter", [{"alpha": 3.0}, {"alpha": 9.0, "rslora": True, "mlp": True}])
def test_the_stock_pipeline_makes_the_same_music_as_our_loader(
    tiny_checkpoint, tiny_diffusers_checkpoint, new_settings, tmp_path, adapter
):
    """The whole inference path of diffusers, from prompt to audio, on the checkpoint in its own layout."""
    settings = new_settings(adapter=adapter)
    base = weights.find_checkpoint(str(tiny_checkpoint), "auto", "")
    trained = weights.load_transformer(base, torch.float32)
    adapters.inject(trained, settings.adapter)
    randomise(trained)
    export.publish(tmp_path / "final", trained, settings, provenance())

    def music(load) -> torch.Tensor:
        pipe = AceStepPipeline.from_pretrained(str(tiny_diffusers_checkpoint))
        pipe.set_progress_bar_config(disable=True)
        load(pipe)
        pipe.transformer.requires_grad_(False)
        return pipe(
            prompt="slow drums",
            lyrics="[Instrumental]",
            audio_duration=1.0,
            num_inference_steps=2,
            generator=torch.Generator().manual_seed(1),
        ).audios

    plain = music(lambda pipe: None)
    theirs = music(lambda pipe: pipe.load_lora_weights(str(tmp_path / "final")))
    ours = music(lambda pipe: adapters.load_adapter(pipe.transformer, tmp_path / "final"))
    assert (theirs - ours).abs().max() == 0.0
    assert not torch.equal(theirs, plain)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_too_an_export_is_verified_to_the_last_bit(new_transformer, new_settings, tmp_path):
    settings = new_settings(adapter={"mlp": True})
    trained = new_transformer()
    adapters.inject(trained, settings.adapter, autocast=True)
    randomise(trained)
    trained.to("cuda", torch.bfloat16)
    for parameter in adapters.trainable(trained).values():
        parameter.data = parameter.data.float()
    export.publish(tmp_path / "final", trained, settings, provenance())
    expected = export.probe(trained, dtype=torch.bfloat16)
    export.verify(tmp_path / "final", new_transformer().to("cuda", torch.bfloat16), expected, dtype=torch.bfloat16)
