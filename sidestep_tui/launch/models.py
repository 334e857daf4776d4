"""Which files make up an ACE-Step 1.5 checkpoint, found and checked without loading any of them.

The engine has the last word when it loads; this module answers the same questions in milliseconds so that a wrong
path is known before a run starts.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sidestep_tui.core import paths, text
from sidestep_tui.core.errors import ModelError
from sidestep_tui.launch import tensorfile
from sidestep_tui.schema.model_shape import ModelShape, model_shape

Layout = Literal["original", "diffusers"]

DIRECTORY_PREFIX = "acestep-v15-"
TEXT_ENCODER = "Qwen3-Embedding-0.6B"
_LANGUAGE_MODEL_PREFIX = "acestep-5Hz-lm"
_BLOCK = 4096
_TOKENIZER_FILES = ("tokenizer.json", "vocab.json")


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A checkpoint that is there: `path` is its resolved directory, `name` how its folder calls it."""

    path: Path
    name: str
    variant: str
    layout: Layout
    shape: ModelShape = field(repr=False)

    @property
    def size_name(self) -> str:
        return "XL" if self.variant.startswith("xl") else "2B"


def is_model_dir(path: Path) -> bool:
    """Whether `path` itself is a checkpoint, of either layout."""
    if (path / "model_index.json").is_file():
        return (path / "transformer").is_dir()
    return path.name.startswith(DIRECTORY_PREFIX) and (path / "config.json").is_file()


def inspect(path: Path) -> FoundModel:
    """Read the configuration of the checkpoint in `path`; ModelError when it is none."""
    resolved = path.resolve()
    layout: Layout = "diffusers" if (resolved / "model_index.json").is_file() else "original"
    config_path = resolved / "transformer" / "config.json" if layout == "diffusers" else resolved / "config.json"
    config = read_config(config_path)
    shape = model_shape(config)
    return FoundModel(resolved, path.name, _variant(config, shape, path.name), layout, shape)


def read_config(path: Path) -> dict[str, Any]:
    """A checkpoint's JSON configuration, or a ModelError that names the file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(
            f"{path.parent.name or path} is not a complete checkpoint.",
            f"{path} cannot be read: {error.strerror}.",
            "Choose a directory that holds the model's config.json and weights.",
        ) from error
    except ValueError as error:
        raise ModelError(
            f"{path.name} is not valid JSON.", f"{path}: {error}.", "Copy the file again from the model's source."
        ) from error
    if not isinstance(value, dict):
        raise ModelError(f"{path.name} is not a configuration.", f"{path} holds no JSON object.", "Copy it again.")
    return value


def _variant(config: dict[str, Any], shape: ModelShape, name: str) -> str:
    kind = str(config.get("model_version") or "").removeprefix("xl-").removeprefix("xl_")
    if kind not in ("turbo", "base", "sft"):
        if config.get("is_turbo"):
            kind = "turbo"
        else:
            kind = "sft" if "sft" in name.lower() else "base"
    is_xl = shape.hidden != shape.encoder_hidden
    return f"xl-{kind}" if is_xl else kind


def locate(path_text: str, variant: str = "auto") -> FoundModel:
    """The checkpoint that `model.path` and `model.variant` mean; ModelError says what is wrong and what would do."""
    if not path_text:
        raise ModelError(
            "No model is chosen.",
            "model.path is empty.",
            "Choose one in the wizard, or pass --model DIR; `sidestep-tui models list` shows those found here.",
        )
    path = paths.expand(path_text)
    if not path.is_dir():
        raise ModelError(
            "The model directory does not exist.",
            f"{path} is not a directory.",
            "Check the path, or run `sidestep-tui models list` to see the checkpoints found here.",
        )
    found = inspect(path) if _looks_complete(path) else _choose_inside(path, variant)
    if variant not in ("auto", found.variant):
        raise ModelError(
            f"The checkpoint is {found.variant}, not {variant}.",
            f"{found.path} says so in its config.json.",
            f"Set model.variant to auto or {found.variant}, or choose another checkpoint.",
        )
    return found


def _looks_complete(path: Path) -> bool:
    return (path / "model_index.json").is_file() or (path / "config.json").is_file()


def _choose_inside(path: Path, variant: str) -> FoundModel:
    inside = list(models_in(path))
    if not inside:
        raise ModelError(
            "There is no ACE-Step 1.5 checkpoint in this directory.",
            f"{path} holds neither config.json nor model_index.json, nor a folder named {DIRECTORY_PREFIX}….",
            "Choose the acestep-v15-… folder itself or the folder that holds it.",
        )
    fitting = [model for model in inside if variant in ("auto", model.variant)]
    if len(fitting) == 1:
        return fitting[0]
    names = text.listing([f"{model.name} ({model.variant})" for model in inside])
    if not fitting:
        raise ModelError(
            f"There is no {variant} checkpoint in this directory.",
            f"{path} holds {names}.",
            "Choose one of these, or another directory.",
        )
    raise ModelError(
        "More than one checkpoint would do.", f"{path} holds {names}.", "Name one with --model, or set model.variant."
    )


def models_in(root: Path) -> Iterator[FoundModel]:
    """Checkpoints directly inside `root`, by name; a broken one is left out (naming it explicitly says why)."""
    try:
        children = sorted(child for child in root.iterdir() if child.is_dir())
    except OSError:
        return
    for child in children:
        if child.name.startswith(_LANGUAGE_MODEL_PREFIX) or not is_model_dir(child):
            continue
        try:
            yield inspect(child)
        except ModelError:
            continue


@dataclass(frozen=True, slots=True)
class FileCheck:
    """One file or component of a checkpoint: `problem` is None when it is whole."""

    role: str
    path: Path
    problem: ModelError | None
    detail: str = ""


def check_files(model: FoundModel, components: str = "") -> Iterator[FileCheck]:
    """Every file that training needs, with headers read and lengths compared: finds missing and truncated ones."""
    if model.layout == "diffusers":
        for folder, required in (("transformer", True), ("condition_encoder", True), ("vae", True)):
            yield from _weights(folder, model.path / folder, required=required)
        yield from _weights("text encoder", model.path / "text_encoder")
        yield _tokenizer(model.path / "tokenizer")
        return
    yield from _weights("transformer and condition encoder", model.path)
    yield _silence(model.path / "silence_latent.pt")
    roots = component_roots(model, components)
    vae = _component(roots, "vae")
    yield from _weights("vae", vae)
    encoder = _component(roots, TEXT_ENCODER)
    yield from _weights("text encoder", encoder)
    yield _tokenizer(encoder)


def component_roots(model: FoundModel, components: str = "") -> list[Path]:
    """Where the VAE and the text encoder of an original checkpoint may lie, first match wins."""
    if components:
        return [paths.expand(components)]
    return [model.path, model.path.parent]


def _component(roots: list[Path], name: str) -> Path:
    for root in roots:
        if (root / name).is_dir():
            return (root / name).resolve()
    return roots[-1] / name


def tokenizer_dir(path_text: str, variant: str = "auto", components: str = "") -> Path:
    """The directory of the tokenizer that the engine will use with this checkpoint, looked for in the same places.

    ModelError when checkpoint or tokenizer are not there.
    """
    model = locate(path_text, variant)
    root = paths.expand(path_text).absolute()
    # A link to a checkpoint may lie beside the other parts, so the place of the link counts before that of its target.
    directory = root if root.resolve() == model.path else root / model.name
    if model.layout == "diffusers":
        found: Path | None = directory / "tokenizer"
    else:
        extra = [paths.expand(components)] if components else []
        places = [*extra, directory, directory.parent, root, model.path.parent]
        candidates = (place / name for place in places for name in (TEXT_ENCODER, "text_encoder"))
        found = next((path for path in candidates if (path / "config.json").is_file()), None)
    if found is None or not (found / "tokenizer.json").is_file():
        raise _missing("tokenizer", (found or directory.parent / TEXT_ENCODER) / "tokenizer.json")
    return found


def _present(role: str, path: Path) -> FileCheck:
    if not path.is_file():
        return FileCheck(role, path, _missing(role, path))
    size = path.stat().st_size
    problem = None if size else _broken(role, path, "It is empty (0 bytes)")
    return FileCheck(role, path, problem, text.file_size(size))


def _broken(role: str, path: Path, why: str) -> ModelError:
    return ModelError(f"The {role} of the checkpoint is damaged.", f"{path}: {why}.", "Download this file again.")


def _silence(path: Path) -> FileCheck:
    """A file of torch.save is a zip archive, whose directory is at its end: one that was cut off has none."""
    check = _present("silence latent", path)
    if check.problem is not None:
        return check
    with path.open("rb") as handle:
        is_archive = handle.read(2) == b"PK"
    if is_archive and not zipfile.is_zipfile(path):
        return FileCheck(check.role, path, _broken(check.role, path, "It is cut off"))
    return check


def _configuration(role: str, path: Path) -> FileCheck:
    check = _present(role, path)
    if check.problem is not None:
        return check
    try:
        read_config(path)
    except ModelError as error:
        return FileCheck(role, path, error)
    return check


def _missing(role: str, path: Path) -> ModelError:
    return ModelError(
        f"The checkpoint lacks its {role}.",
        f"{path} does not exist.",
        "Copy it beside the others, or set model.components to the directory that holds vae and the text encoder.",
    )


def _tokenizer(directory: Path) -> FileCheck:
    for name in _TOKENIZER_FILES:
        if (directory / name).is_file():
            return _whole_json("tokenizer", directory / name)
    return FileCheck("tokenizer", directory, _missing("tokenizer", directory / _TOKENIZER_FILES[0]))


def _whole_json(role: str, path: Path) -> FileCheck:
    """A JSON object that is there to its last brace. Parsing the real one would take longer than all other checks."""
    check = _present(role, path)
    if check.problem is not None:
        return check
    with path.open("rb") as handle:
        handle.seek(max(0, path.stat().st_size - _BLOCK))
        is_closed = handle.read().rstrip().endswith(b"}")
    return check if is_closed else FileCheck(role, path, _broken(role, path, "It is cut off"))


def _weights(role: str, directory: Path, *, required: bool = True) -> Iterator[FileCheck]:
    """The safetensors of one component: a single file, or every shard that its index names."""
    if not directory.is_dir():
        if required:
            yield FileCheck(role, directory, _missing(role, directory))
        return
    yield _configuration(f"{role} configuration", directory / "config.json")
    index = next(iter(sorted(directory.glob("*.safetensors.index.json"))), None)
    files = sorted(path for path in directory.glob("*.safetensors") if not path.name.startswith("."))
    if index is not None and not (directory / index.name.removesuffix(".index.json")).is_file():
        try:
            weight_map = read_config(index).get("weight_map", {})
        except ModelError as error:
            yield FileCheck(f"{role} index", index, error)
            return
        files = [directory / str(name) for name in sorted(set(weight_map.values()))]
    if not files:
        yield FileCheck(role, directory, _missing(f"{role} weights", directory / _usual_name(directory)))
    for path in files:
        yield _whole(role, path)


def _usual_name(directory: Path) -> str:
    single = "diffusion_pytorch_model.safetensors"
    return single if directory.name in ("vae", "transformer", "condition_encoder") else "model.safetensors"


def _whole(role: str, path: Path) -> FileCheck:
    if not path.is_file():
        return FileCheck(role, path, _missing(f"{role} weights", path))
    try:
        header = tensorfile.read_header(path)
    except ModelError as error:
        return FileCheck(role, path, error)
    detail = f"{text.count(header.parameters)} weights, {text.file_size(path.stat().st_size)}"
    return FileCheck(role, path, None, detail)
