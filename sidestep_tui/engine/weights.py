"""Loading the parts of a checkpoint into the diffusers and transformers classes, one at a time and strictly.

Modules are built without memory (meta device) and filled tensor by tensor. Every key of the files and every key of the
module is accounted for, or a ModelError names the file and the first key that is not. No remote code, no pickle.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeAlias

import torch
from torch import nn

from sidestep_tui.core.errors import ModelError
from sidestep_tui.engine import keymap, quantised, shards
from sidestep_tui.engine.variants import (
    LATENT_CHANNELS,
    SILENCE_FRAMES,
    Checkpoint,
    detect_variant,
    find_checkpoint,
    read_config,
)
from sidestep_tui.schema.memory import Base
from sidestep_tui.schema.model_shape import ModelShape

__all__ = [
    "Checkpoint",
    "apply_timbre_token",
    "detect_variant",
    "find_checkpoint",
    "load_condition_encoder",
    "load_null_condition",
    "load_pipeline",
    "load_silence_latent",
    "load_text_encoder",
    "load_transformer",
    "load_vae",
    "made_up_transformer",
]

Device: TypeAlias = torch.device | str
_FLOATS = ("F64", "F32", "F16", "BF16")
_REFETCH = "The file belongs to another model or version; download the checkpoint again."


def load_transformer(ckpt: Checkpoint, dtype: torch.dtype, device: Device = "cpu", *, base: Base = "full") -> Any:
    """The DiT as a frozen `AceStepTransformer1DModel` in eval mode.

    With a `base` of 8 or 4 bits, each matrix is quantised as it is read: the whole model is never there in full.
    """
    from diffusers import AceStepTransformer1DModel

    if ckpt.layout == "original":
        config = keymap.transformer_config(ckpt.config)
    else:
        config = dict(AceStepTransformer1DModel.extract_init_dict(ckpt.config)[0])
    return _load_component(ckpt, "transformer", lambda: AceStepTransformer1DModel(**config), dtype, device, base=base)


def made_up_transformer(shape: ModelShape, dtype: torch.dtype, device: Device = "cpu", *, base: Base = "full") -> Any:
    """A DiT of that shape with random weights: for measuring what one of its size needs."""
    from diffusers import AceStepTransformer1DModel

    def build() -> Any:
        return AceStepTransformer1DModel(
            hidden_size=shape.hidden,
            intermediate_size=shape.intermediate,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            head_dim=shape.head_dim,
            in_channels=shape.in_channels,
            audio_acoustic_hidden_dim=shape.latent_channels,
            patch_size=shape.patch,
            encoder_hidden_size=shape.encoder_hidden,
        )

    with torch.device("meta"):
        module = build()
    quantised_layers = quantised.replace(module, base, dtype)
    made = {
        name: (torch.ones if tensor.dim() < 2 else _small_noise)(tensor.shape, dtype=dtype, device=device)
        for name, tensor in module.state_dict().items()
    }
    module.load_state_dict(made, strict=True, assign=True)
    for layer in quantised_layers.values():
        layer.fill(_small_noise((layer.out_features, layer.in_features), dtype=torch.float32, device=device))
    _fill_buffers(module, build, device)
    module.requires_grad_(requires_grad=False)
    return module.eval()


def _small_noise(shape: Sequence[int], *, dtype: torch.dtype, device: Device) -> torch.Tensor:
    return torch.randn(tuple(shape), dtype=dtype, device=device).mul_(0.02)


def load_condition_encoder(ckpt: Checkpoint, dtype: torch.dtype, device: Device = "cpu") -> Any:
    """The condition encoder with its silence latent, frozen; on XL with the timbre token that diffusers leaves out."""
    from diffusers.pipelines.ace_step.modeling_ace_step import AceStepConditionEncoder

    if ckpt.layout == "original":
        config = keymap.condition_encoder_config(ckpt.config)
    else:
        stored = read_config(ckpt.condition_encoder_dir / "config.json")
        config = dict(AceStepConditionEncoder.extract_init_dict(stored)[0])
    encoder = _load_component(ckpt, "condition_encoder", lambda: AceStepConditionEncoder(**config), dtype, device)
    if ckpt.is_xl:
        apply_timbre_token(encoder)
    return encoder


def load_vae(ckpt: Checkpoint, dtype: torch.dtype, device: Device = "cpu") -> Any:
    """The VAE as a frozen `AutoencoderOobleck` in eval mode."""
    from diffusers import AutoencoderOobleck

    config, _, _ = AutoencoderOobleck.extract_init_dict(read_config(ckpt.vae_dir / "config.json"))
    tensors = shards.open_tensors(ckpt.vae_dir)
    with warnings.catch_warnings():
        # The class itself uses the older spelling of weight normalisation, which its files are stored in.
        warnings.filterwarnings("ignore", message=".*weight_norm", category=FutureWarning)
        return _fill(lambda: AutoencoderOobleck(**config), tensors, {n: n for n in tensors.names()}, {}, dtype, device)


def load_text_encoder(ckpt: Checkpoint, dtype: torch.dtype, device: Device = "cpu") -> tuple[Any, Any]:
    """Tokenizer and text encoder (a `Qwen3Model` without its head), frozen and in eval mode."""
    from transformers import AutoTokenizer, Qwen3Config, Qwen3Model

    config = read_config(ckpt.text_encoder_dir / "config.json")
    if config.get("model_type") != "qwen3":
        raise ModelError(
            f"{ckpt.text_encoder_dir} is not a Qwen3 text encoder.",
            f"Its config.json says model_type '{config.get('model_type')}'.",
            "ACE-Step 1.5 needs Qwen3-Embedding-0.6B.",
        )
    tensors = shards.open_tensors(ckpt.text_encoder_dir)
    mapping = {name.removeprefix("model."): name for name in tensors.names() if name != "lm_head.weight"}
    model = _fill(lambda: Qwen3Model(Qwen3Config(**config)), tensors, mapping, {}, dtype, device)
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(ckpt.tokenizer_dir), local_files_only=True)
    except (OSError, ValueError) as error:
        raise ModelError(f"The tokenizer in {ckpt.tokenizer_dir} cannot be loaded.", str(error), _REFETCH) from error
    return tokenizer, model


def load_silence_latent(ckpt: Checkpoint) -> torch.Tensor:
    """The latents of 600 s of silence, float32 [1, 15000, 64] (ACESTEP_FACTS.md §2.1)."""
    if ckpt.layout == "diffusers":
        tensors = shards.open_tensors(ckpt.condition_encoder_dir)
        if keymap.SILENCE not in tensors.home:
            raise _missing_key(tensors.files[0].path, keymap.SILENCE)
        silence = tensors.read([keymap.SILENCE], torch.float32, "cpu")[keymap.SILENCE]
        return _checked_silence(silence, tensors.home[keymap.SILENCE].path)
    path = ckpt.dir / "silence_latent.pt"
    return _checked_silence(_read_silence_file(path), path)


def load_null_condition(ckpt: Checkpoint) -> torch.Tensor:
    """The learned "no condition" embedding, float32 [1, 1, encoder hidden]."""
    tensors = shards.open_tensors(ckpt.condition_encoder_dir)
    if keymap.NULL_CONDITION not in tensors.home:
        raise _missing_key(tensors.files[0].path, keymap.NULL_CONDITION)
    return tensors.read([keymap.NULL_CONDITION], torch.float32, "cpu")[keymap.NULL_CONDITION]


def load_pipeline(ckpt: Checkpoint, dtype: torch.dtype, device: Device = "cpu") -> Any:
    """A stock `AceStepPipeline` of all parts, with the timbre token on XL: what auditions should sound like.

    The VAE decodes in tiles. The scheduler must not shift, because the pipeline has shifted already (§2.2).
    """
    from diffusers import AceStepPipeline, FlowMatchEulerDiscreteScheduler

    tokenizer, text_encoder = load_text_encoder(ckpt, dtype, device)
    vae = load_vae(ckpt, dtype, device)
    vae.enable_tiling()
    return AceStepPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        transformer=load_transformer(ckpt, dtype, device),
        condition_encoder=load_condition_encoder(ckpt, dtype, device),
        scheduler=FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, shift=1.0),
    )


def apply_timbre_token(condition_encoder: Any) -> None:
    """Prepend the learned `special_token` to the timbre input, as the XL models do and diffusers 0.42 does not.

    A hook on `embed_tokens` lengthens its output [N, T, D] to [N, 1+T, D]; the timbre encoder then reads position 0,
    the token. Names of parameters stay as they are. ACESTEP_FACTS.md §3.4 and §8. Applying it twice changes nothing.
    """
    timbre = condition_encoder.timbre_encoder
    if any(isinstance(hook, _PrependToken) for hook in timbre.embed_tokens._forward_hooks.values()):
        return
    timbre.embed_tokens.register_forward_hook(_PrependToken(timbre))


class _PrependToken:
    """Forward hook that puts the timbre encoder's special token in front; looks it up at call time, so casts hold."""

    def __init__(self, timbre_encoder: nn.Module) -> None:
        self.timbre_encoder = timbre_encoder

    def __call__(self, _module: nn.Module, _args: tuple[Any, ...], embedded: torch.Tensor) -> torch.Tensor:
        token: torch.Tensor = self.timbre_encoder.special_token
        return torch.cat([token.to(embedded).expand(embedded.shape[0], -1, -1), embedded], dim=1)


def _load_component(
    ckpt: Checkpoint,
    component: keymap.Component,
    build: Callable[[], Any],
    dtype: torch.dtype,
    device: Device,
    *,
    base: Base = "full",
) -> Any:
    """Fill one ACE-Step component from either layout."""
    directory = ckpt.transformer_dir if component == "transformer" else ckpt.condition_encoder_dir
    tensors = shards.open_tensors(directory)
    extra: dict[str, torch.Tensor] = {}
    mapping: dict[str, str] = {}
    if ckpt.layout == "diffusers":
        mapping = {name: name for name in tensors.names()}
    else:
        for name in tensors.names():
            place = keymap.key_to_diffusers(name)
            if place is None:
                raise _unknown_key(tensors.home[name].path, name)
            if place[0] == component:
                mapping[place[1]] = name
    if component == "condition_encoder":
        mapping.pop(keymap.SILENCE, None)
        extra[keymap.SILENCE] = load_silence_latent(ckpt).to(device=device, dtype=dtype)
    return _fill(build, tensors, mapping, extra, dtype, device, base=base)


def _fill(
    build: Callable[[], Any],
    tensors: shards.TensorSet,
    mapping: dict[str, str],
    extra: dict[str, torch.Tensor],
    dtype: torch.dtype,
    device: Device,
    *,
    base: Base = "full",
) -> Any:
    """Build on the meta device and assign; `mapping` goes from module key to file key, `extra` comes from elsewhere."""
    module = _build_empty(build, tensors)
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    for name, shape in wanted.items():
        if name in extra:
            continue
        if name not in mapping:
            raise _missing_key(tensors.files[0].path, name)
        if tensors.shape(mapping[name]) != shape:
            raise ModelError(
                f"'{mapping[name]}' in {tensors.home[mapping[name]].path} has another shape than config.json says.",
                f"The file has {list(tensors.shape(mapping[name]))}, the configuration {list(shape)}.",
                "Weights and config.json come from different models; download both again.",
            )
        if tensors.dtype(mapping[name]) not in _FLOATS:
            raise ModelError(
                f"'{mapping[name]}' in {tensors.home[mapping[name]].path} is quantised.",
                f"It is stored as {tensors.dtype(mapping[name])}; its scales are elsewhere.",
                "Use the checkpoint in bfloat16 or float32.",
            )
    for name, source in mapping.items():
        if name not in wanted:
            raise _unknown_key(tensors.home[source].path, source)
    quantised_layers = {
        mapping[f"{name}.weight"]: layer for name, layer in quantised.replace(module, base, dtype).items()
    }
    read = tensors.read([source for source in mapping.values() if source not in quantised_layers], dtype, device)
    state = {name: read.pop(source) for name, source in mapping.items() if source not in quantised_layers} | extra
    module.load_state_dict(state, strict=True, assign=True)
    for source, weight in tensors.each(list(quantised_layers), torch.float32, device):
        quantised_layers[source].fill(weight)
    _fill_buffers(module, build, device)
    module.requires_grad_(requires_grad=False)
    return module.eval()


def _build_empty(build: Callable[[], Any], tensors: shards.TensorSet) -> Any:
    """The module without memory; a configuration that its class does not accept is an error of the checkpoint."""
    try:
        with torch.device("meta"):
            return build()
    except (TypeError, ValueError, KeyError, IndexError, ArithmeticError, RuntimeError) as error:
        raise ModelError(
            f"The configuration beside {tensors.files[0].path} cannot be built.",
            f"{type(error).__name__}: {error}",
            "Download its config.json again.",
        ) from error


def _fill_buffers(module: nn.Module, build: Callable[[], Any], device: Device) -> None:
    """Give the buffers that files never hold (rotary frequencies) their computed values.

    They exist only after a real construction, which is done on the CPU for the owning submodule's class alone where it
    takes its configuration, and for the whole module otherwise.
    """
    owners = {
        (name, key)
        for name, owner in module.named_modules()
        for key, buffer in owner.named_buffers(recurse=False)
        if buffer.device.type == "meta"
    }
    for name, key in sorted(owners):
        owner = module.get_submodule(name)
        config = getattr(owner, "config", None)
        rebuilt = type(owner)(config) if config is not None and owner is not module else build().get_submodule(name)
        owner.register_buffer(key, getattr(rebuilt, key).to(device), persistent=False)


_UNREADABLE_PICKLE = (
    RuntimeError,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    struct.error,
)
"""What torch's restricted unpickler raises on bytes that are no pickle."""


def _read_silence_file(path: Path) -> torch.Tensor:
    try:
        # weights_only refuses everything but tensors; a pickle that wants to run code is an error here.
        value = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ModelError(f"{path} is missing.", "", "Download the checkpoint again.") from error
    except UnpicklingError as error:
        # Not str(error): torch advises there to load the file with its safety off.
        reason = "It holds other things than a tensor, which could run code."
        raise ModelError(f"{path} cannot be read.", reason, "Download this file again.") from error
    except _UNREADABLE_PICKLE as error:
        reason = f"It is damaged ({type(error).__name__})."
        raise ModelError(f"{path} cannot be read.", reason, "Download this file again.") from error
    if not isinstance(value, torch.Tensor) or value.dim() != 3:
        raise ModelError(f"{path} does not hold a silence latent.", "A tensor [1, 64, 15000] is expected.", _REFETCH)
    return value.transpose(1, 2).to(torch.float32).contiguous()


def _checked_silence(silence: torch.Tensor, path: Path) -> torch.Tensor:
    expected = (1, SILENCE_FRAMES, LATENT_CHANNELS)
    if tuple(silence.shape) != expected:
        raise ModelError(
            f"The silence latent in {path} has another shape than the model needs.",
            f"It is {list(silence.shape)} in frames and channels; {list(expected)} is needed.",
            _REFETCH,
        )
    return silence


def _missing_key(path: Path, key: str) -> ModelError:
    return ModelError(f"{path} lacks the tensor '{key}'.", "The model needs it.", _REFETCH)


def _unknown_key(path: Path, key: str) -> ModelError:
    return ModelError(f"{path} has a tensor that the model does not know: '{key}'.", "", _REFETCH)
