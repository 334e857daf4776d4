"""Which checkpoint lies in a directory: its layout, its variant, and where its parts are.

Only small files are read here (configurations and safetensors headers), so a wrong path is refused at once.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sidestep_tui.core import text
from sidestep_tui.core.errors import ModelError
from sidestep_tui.engine import shards

Layout = Literal["original", "diffusers"]

VARIANTS = ("turbo", "base", "sft", "xl-turbo", "xl-base", "xl-sft")
SILENCE_FRAMES = 15_000
HOP = 1920
SAMPLE_RATE = 48_000
LATENT_CHANNELS = 64
_LAYERS = 24
_HIDDEN_SIZE = 2048
_ORIGINAL_KEYS = ("hidden_size", "num_hidden_layers", "timbre_hidden_dim", "text_hidden_dim")
_TEXT_ENCODER_DIRS = ("Qwen3-Embedding-0.6B", "text_encoder")
_DOWNLOAD = (
    "Download the whole checkpoint, or set model.components to the directory that holds vae and the text encoder."
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint whose files are all there; nothing is loaded yet."""

    dir: Path
    layout: Layout
    variant: str
    config: dict[str, Any]
    """`config.json` of the original layout, or that of the diffusers transformer."""
    is_xl: bool
    is_turbo: bool
    transformer_dir: Path
    condition_encoder_dir: Path
    vae_dir: Path
    text_encoder_dir: Path
    tokenizer_dir: Path
    fingerprint: str
    """Of DiT, condition encoder and silence latent; stable under copying and renaming."""
    vae_fingerprint: str
    text_encoder_fingerprint: str
    timestep_mu: float
    timestep_sigma: float

    @property
    def hidden_size(self) -> int:
        """Width of the DiT."""
        return int(self.config.get("hidden_size") or _HIDDEN_SIZE)

    @property
    def layers(self) -> int:
        """Depth of the DiT."""
        return int(self.config.get("num_hidden_layers") or _LAYERS)

    @property
    def encoder_hidden_size(self) -> int:
        """Width of the conditions."""
        return int(self.config.get("encoder_hidden_size") or self.hidden_size)


def find_checkpoint(model_path: str | Path, variant: str = "auto", components: str | Path = "") -> Checkpoint:
    """Find and check the checkpoint at `model_path`.

    `model_path` may be an original `acestep-v15-…` directory, a folder that holds one (or several: `variant` chooses),
    or a diffusers directory. `components` is one more place to look for the VAE and the text encoder.
    Raises ModelError naming what is missing, ambiguous or contradictory.
    """
    root = _existing(model_path)
    directory, config, layout = _choose(root, variant)
    found = detect_variant(config, _name(directory))
    if variant != "auto" and variant != found:
        raise ModelError(
            f"{directory} is the {found} variant, but {variant} is asked for.",
            "The files themselves say which variant they are.",
            f"Set model.variant to auto or {found}, or point to a {variant} checkpoint.",
        )
    extra = [Path(components).expanduser()] if str(components) else []
    places = [*extra, directory, directory.parent, root, directory.resolve().parent]
    transformer_dir, condition_dir = directory, directory
    if layout == "diffusers":
        transformer_dir, condition_dir = directory / "transformer", directory / "condition_encoder"
    vae_dir = _component(("vae",), places, "VAE")
    text_dir = _component(_TEXT_ENCODER_DIRS, places, "text encoder")
    tokenizer_dir = directory / "tokenizer" if layout == "diffusers" else text_dir
    _check_vae(vae_dir)
    _need(tokenizer_dir / "tokenizer.json", "The tokenizer is part of the text encoder.")
    return Checkpoint(
        dir=directory,
        layout=layout,
        variant=found,
        config=config,
        is_xl=found.startswith("xl-"),
        is_turbo=found.endswith("turbo"),
        transformer_dir=transformer_dir,
        condition_encoder_dir=condition_dir,
        vae_dir=vae_dir,
        text_encoder_dir=text_dir,
        tokenizer_dir=tokenizer_dir,
        fingerprint=_model_fingerprint(transformer_dir, condition_dir, layout),
        vae_fingerprint=_fingerprint(vae_dir),
        text_encoder_fingerprint=_fingerprint(text_dir, tokenizer_dir / "tokenizer.json"),
        timestep_mu=float(config.get("timestep_mu", -0.4)),
        timestep_sigma=float(config.get("timestep_sigma", 1.0)),
    )


def detect_variant(config: Mapping[str, Any], name: str) -> str:
    """The variant that a configuration describes; the directory's `name` decides only what it leaves open."""
    hidden = config.get("hidden_size")
    is_xl = config.get("encoder_hidden_size") not in (None, hidden)
    version = str(config.get("model_version") or "").lower().replace("xl", "").strip("-_ ")
    words = name.lower().replace("_", "-").split("-")
    silent = not version and config.get("is_turbo") is None
    if config.get("is_turbo") or version.startswith("turbo") or (silent and "turbo" in words):
        kind = "turbo"
    elif version.startswith("sft") or "sft" in words:
        kind = "sft"
    else:
        kind = "base"
    return f"xl-{kind}" if is_xl else kind


def read_config(path: Path) -> dict[str, Any]:
    """A JSON object from a configuration file; ModelError names the file otherwise."""
    _need(path, "Every component of a checkpoint has one.")
    try:
        value = json.loads(path.read_text("utf-8"))
    except (ValueError, OSError) as error:
        raise ModelError(f"{path} cannot be read.", str(error), "Download this file again.") from error
    if not isinstance(value, dict):
        raise ModelError(
            f"{path} is not a configuration.", "It should hold a JSON object.", "Download this file again."
        )
    return value


def _existing(model_path: str | Path) -> Path:
    if not str(model_path):
        raise ModelError("No checkpoint is set.", "", "Set model.path, or pass --model DIR.")
    root = Path(model_path).expanduser()
    if not root.exists():
        raise ModelError(f"{root} does not exist.", "", "Check the path of the checkpoint, or download one.")
    if root.is_file():
        raise ModelError(f"{root} is a file.", "A checkpoint is a directory.", f"Point to {root.parent} instead.")
    return root.absolute()


def _identify(directory: Path) -> tuple[dict[str, Any], Layout] | None:
    """Configuration and layout of a checkpoint directory, or None when the directory is something else."""
    if (directory / "model_index.json").is_file():
        if "AceStep" not in str(read_config(directory / "model_index.json").get("_class_name")):
            return None
        return read_config(directory / "transformer" / "config.json"), "diffusers"
    path = directory / "config.json"
    if not path.is_file():
        return None
    config = read_config(path)
    return (config, "original") if all(key in config for key in _ORIGINAL_KEYS) else None


def _choose(root: Path, variant: str) -> tuple[Path, dict[str, Any], Layout]:
    for directory in (root, root.parent if root.name in ("transformer", "condition_encoder") else root):
        identified = _identify(directory)
        if identified is not None:
            return directory, *identified
    candidates = [
        (child, *identified)
        for parent in (root, root / "checkpoints")
        if parent.is_dir()
        for child in sorted(parent.iterdir())
        if child.is_dir() and (identified := _identify(child)) is not None
    ]
    if not candidates:
        raise _nothing(root)
    names = [_named(child, config) for child, config, _ in candidates]
    fitting = [item for item in candidates if variant in ("auto", detect_variant(item[1], _name(item[0])))]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise ModelError(
            f"{root} holds no {variant} checkpoint.",
            f"It holds {text.listing(names)}.",
            "Set model.variant to one of these, or point to another directory.",
        )
    raise ModelError(
        f"{root} holds {len(fitting)} checkpoints that fit.",
        f"They are {text.listing([_named(child, config) for child, config, _ in fitting], 8)}.",
        "Set model.variant to choose, or point to one of the directories.",
    )


def _name(directory: Path) -> str:
    """The name a person gave; downloads of the hub lie in `…/models--owner--name/snapshots/<hash>`."""
    return directory.parent.parent.name if directory.parent.name == "snapshots" else directory.name


def _named(directory: Path, config: Mapping[str, Any]) -> str:
    return f"{directory.name} ({detect_variant(config, _name(directory))})"


def _nothing(root: Path) -> ModelError:
    """Say what would have to be there; a directory with the right name is most probably half a download."""
    halves = [
        item for item in (root, *sorted(p for p in root.iterdir() if p.is_dir())) if item.name.startswith("acestep-v15")
    ]
    if halves:
        return ModelError(
            f"{halves[0] / 'config.json'} is missing."
            if not (halves[0] / "config.json").exists()
            else f"{halves[0] / 'config.json'} is not the configuration of an ACE-Step 1.5 model.",
            "The directory is named like a checkpoint, but this part of it is not there.",
            "Download the checkpoint again.",
        )
    return ModelError(
        f"{root} holds no ACE-Step 1.5 checkpoint.",
        "Neither an acestep-v15-… directory (config.json, model.safetensors, silence_latent.pt) nor a diffusers "
        "directory (model_index.json) is there.",
        "Point to the checkpoint directory or to the folder that contains it.",
    )


def _component(names: Iterable[str], places: Iterable[Path], what: str) -> Path:
    looked: list[str] = []
    for place in dict.fromkeys(places):
        for name in names:
            directory = place / name
            if (directory / "config.json").is_file():
                return directory
            looked.append(str(directory / "config.json"))
    raise ModelError(f"The {what} is missing.", f"Looked for {text.listing(looked, 6)}.", _DOWNLOAD)


def _need(path: Path, why: str) -> None:
    if not path.is_file():
        raise ModelError(f"{path} is missing.", why, "Download the checkpoint again, or point to a complete one.")


def _check_vae(vae_dir: Path) -> None:
    """Refuse a VAE of another rate or width: its latents would train silently wrong."""
    config = read_config(vae_dir / "config.json")
    hop = math.prod(int(ratio) for ratio in config.get("downsampling_ratios", ()))
    channels, rate = config.get("decoder_input_channels"), config.get("sampling_rate")
    if (hop, channels, rate) != (HOP, LATENT_CHANNELS, SAMPLE_RATE):
        raise ModelError(
            f"{vae_dir} is not the VAE of ACE-Step 1.5.",
            f"Hop, channels, rate: {hop}, {channels}, {rate} instead of {HOP}, {LATENT_CHANNELS}, {SAMPLE_RATE}.",
            "Point model.components to the vae directory of ACE-Step 1.5.",
        )


def _fingerprint(directory: Path, *files: Path) -> str:
    """Hash of a component: its weights (sampled), and its small files whole."""
    digest = hashlib.sha256(shards.open_tensors(directory).fingerprint().encode())
    for path in (directory / "config.json", *files):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:32]


def _model_fingerprint(transformer_dir: Path, condition_dir: Path, layout: Layout) -> str:
    if layout == "original":
        silence = transformer_dir / "silence_latent.pt"
        _need(silence, "It holds the latents of silence, which stand in for the source and the reference.")
        return _fingerprint(transformer_dir, silence)
    _need(condition_dir / "config.json", "It belongs to the condition encoder.")
    both = _fingerprint(transformer_dir) + _fingerprint(condition_dir)
    return hashlib.sha256(both.encode()).hexdigest()[:32]
