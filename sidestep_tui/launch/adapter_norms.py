"""What an adapter changes, from its file alone: the norm of each module's change, its scale, and the base it is for.

Norms are Frobenius norms of ΔW with the effective scale in it, at strength 1, and come from the factors without ever
building ΔW: ‖BA‖² = ⟨BᵀB, AAᵀ⟩ for low rank, ‖U ⊗ V‖ = ‖U‖·‖V‖ for Kronecker products; only the elementwise product of
LoHa is formed, some rows at a time. One module is in memory at a time.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeVar

from sidestep_tui.core.errors import AdapterError
from sidestep_tui.launch import tensorfile
from sidestep_tui.launch.tensorfile import TensorFile, TensorInfo
from sidestep_tui.schema import adapter_names
from sidestep_tui.schema.model_shape import SHAPE_2B, SHAPE_XL

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]

_Measured = tuple[int | None, float, int, int, float | None]
"""Rank, effective scale, outputs, inputs, norm."""

_Key = TypeVar("_Key", int, str)

_PREFIX: Final = re.compile(
    r"^(?:base_model\.model\.|transformer\.|diffusion_model\.|decoder[._]|lycoris_|lora_unet_)+"
)
_BLOCK: Final = re.compile(r"(?:^|[._])layers[._](\d+)[._](.+)$")
_JOINT: Final = re.compile(r"^(self_attn|cross_attn|attn|mlp)_")
_SIZES: Final = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "F8_E4M3": 1, "F8_E5M2": 1}
_LOW_RANK: Final = ("lora_A", "lora_B")
_ROWS_AT_A_TIME: Final = 256
_INTO: Final = re.compile(
    r"^(?:self_attn\.(?:[qkv]_proj|to_[qkv])|mlp\.(?:gate_proj|up_proj)|cross_attn\.(?:q_proj|to_q))$"
)
_OUT_OF: Final = re.compile(r"(?:o_proj|to_out[._]0|down_proj)$")
_OWN_RECIPE: Final = "sidestep_tui"
_KOHYA: Final = "ss_"


@dataclass(frozen=True, slots=True)
class ModuleChange:
    """One adapted layer. `norm` is None where the file alone does not say (OFT turns the base's own weights)."""

    name: str
    block: int | None
    target: str
    rank: int | None
    scale: float | None
    outputs: int | None
    inputs: int | None
    norm: float | None


@dataclass(frozen=True, slots=True)
class Anatomy:
    """All of it: modules in order of block, the likely base, and what the file says of its making."""

    modules: tuple[ModuleChange, ...]
    base: str | None
    """`2B` or `XL`; None when widths and layers fit neither."""
    recipe: dict[str, str]

    @property
    def scales(self) -> tuple[float, ...]:
        """Every effective scale that occurs: what the product of the factors is multiplied by."""
        return tuple(sorted({module.scale for module in self.modules if module.scale is not None}))

    @property
    def norm(self) -> float | None:
        """The norm of the whole change: the root of the sum of squares."""
        return _together(self.modules)

    @property
    def by_block(self) -> dict[int, float | None]:
        """Norm of each block's change."""
        return _grouped((module for module in self.modules if module.block is not None), lambda m: m.block or 0)

    @property
    def by_target(self) -> dict[str, float | None]:
        """Norm of the change of each kind of layer over all blocks."""
        return _grouped(self.modules, lambda module: module.target)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "base": self.base,
            "scales": list(self.scales),
            "norm": self.norm,
            "norm_by_block": {str(block): norm for block, norm in self.by_block.items()},
            "norm_by_target": self.by_target,
            "modules": [asdict(module) for module in self.modules],
            "recipe": self.recipe,
        }


def _together(modules: Iterable[ModuleChange]) -> float | None:
    norms = [module.norm for module in modules]
    known = [norm for norm in norms if norm is not None]
    return math.hypot(*known) if known and len(known) == len(norms) else None


def _grouped(modules: Iterable[ModuleChange], key: Callable[[ModuleChange], _Key]) -> dict[_Key, float | None]:
    ordered = sorted(modules, key=key)
    return {name: _together(group) for name, group in groupby(ordered, key)}


def examine(path: Path, config: Mapping[str, Any] | None = None) -> Anatomy:
    """Read the adapter file at `path`; `config` is the adapter_config.json beside it.

    Raises AdapterError naming file and key for a tensor without its partner, shapes that do not fit, data that is
    shorter than its shape, and values that are no numbers.
    """
    header = tensorfile.read_header(path, error=AdapterError)
    parts: dict[str, dict[str, str]] = {}
    for key, info in header.tensors.items():
        _check_size(path, key, info)
        if parsed := adapter_names.parse(key):
            parts.setdefault(parsed.stem, {})[parsed.part] = key
    reader = _Reader(header, _settings(header, config))
    try:
        with path.open("rb") as handle:
            modules = [reader.module(handle, name, found) for name, found in parts.items()]
    except OSError as error:
        raise _broken(path, str(error.filename or path), error.strerror or str(error)) from error
    modules.sort(key=lambda module: (module.block is None, module.block or 0, module.target))
    return Anatomy(tuple(modules), _base(modules), _recipe(header.metadata))


def _broken(path: Path, key: str, why: str) -> AdapterError:
    return AdapterError(
        "The adapter file is broken.", f"{path}: {key}: {why}.", "Copy or export it again from where it is from."
    )


def _check_size(path: Path, key: str, info: TensorInfo) -> None:
    size = _SIZES.get(info.dtype)
    if info.start < 0 or (size is not None and info.end - info.start != info.elements * size):
        raise _broken(
            path, key, f"{info.dtype} of shape {list(info.shape)} does not have {info.end - info.start} bytes"
        )


def _settings(header: TensorFile, config: Mapping[str, Any] | None) -> dict[str, Any]:
    """lora_alpha, use_rslora and alpha_pattern: of the configuration, else as embedded for diffusers."""
    if config and config.get("lora_alpha") is not None:
        return dict(config)
    try:
        embedded = json.loads(header.metadata.get("lora_adapter_metadata", "{}"))
    except ValueError:
        return {}
    if not isinstance(embedded, dict):
        return {}
    return {str(key).removeprefix("transformer."): value for key, value in embedded.items()}


class _Reader:
    """Turns the tensors of one module into numbers."""

    def __init__(self, header: TensorFile, settings: Mapping[str, Any]) -> None:
        self._header = header
        self._settings = settings

    def module(self, handle: BinaryIO, name: str, parts: Mapping[str, str]) -> ModuleChange:
        """The change that `parts` (part → key) make to the module called `name` in the file."""
        # What ACE-Step does not have keeps its name.
        clean = adapter_names.module_path(name) or _PREFIX.sub("", name)
        match = _BLOCK.search(clean)
        block = int(match[1]) if match else None
        target = _JOINT.sub(r"\1.", match[2]) if match else clean
        if any(part in parts for part in _LOW_RANK):
            return ModuleChange(clean, block, target, *self._low_rank(handle, clean, parts, *_LOW_RANK))
        if any(part.startswith("lokr_") for part in parts):
            return ModuleChange(clean, block, target, *self._kronecker(handle, name, parts))
        if any(part.startswith("hada_") for part in parts):
            return ModuleChange(clean, block, target, *self._hadamard(handle, name, parts))
        if any(part.startswith("oft_") for part in parts):
            return ModuleChange(clean, block, target, None, None, None, self._rotated(parts), None)
        raise _broken(self._header.path, next(iter(parts.values())), "there are no factors beside it")

    def _low_rank(self, handle: BinaryIO, module: str, parts: Mapping[str, str], down: str, up: str) -> _Measured:
        self._complete(parts, (down, up), module)
        (rank, inputs), (outputs, other) = self._shape(parts[down]), self._shape(parts[up])
        if rank != other:
            raise self._misfit(parts[up], parts[down])
        scale = self._scale(module, parts, rank)
        a, b = self._read(handle, parts[down]), self._read(handle, parts[up])
        norm = None if a is None or b is None else abs(scale) * _norm_of_product(b, a)
        return rank, scale, outputs, inputs, norm

    def _kronecker(self, handle: BinaryIO, module: str, parts: Mapping[str, str]) -> _Measured:
        first, second = self._factor(parts, "lokr_w1", module), self._factor(parts, "lokr_w2", module)
        split = [keys for keys in (first, second) if len(keys) == 2]
        rank = self._shape(split[0][1])[0] if split else None
        # LyCORIS reads an alpha of 0 as none.
        scale = 1.0 if rank is None else (self._stored_alpha(parts, rank) or rank) / rank
        shapes = [(self._shape(keys[0])[0], self._shape(keys[-1])[1]) for keys in (first, second)]
        norms = [self._norm(handle, keys) for keys in (first, second)]
        shape = (shapes[0][0] * shapes[1][0], shapes[0][1] * shapes[1][1])
        if norms[0] is None or norms[1] is None or "lokr_t2" in parts:
            return rank, scale, *shape, None
        return rank, scale, *shape, abs(scale) * norms[0] * norms[1]

    def _rotated(self, parts: Mapping[str, str]) -> int | None:
        """Inputs that OFT turns: `oft_R` [blocks, b(b-1)/2] holds the upper half of b × b blocks (peft)."""
        if "oft_R" not in parts:
            return None
        blocks, above = self._shape(parts["oft_R"])
        size = (1 + math.isqrt(1 + 8 * above)) // 2
        return blocks * size if size * (size - 1) == 2 * above else None

    def _factor(self, parts: Mapping[str, str], name: str, module: str) -> tuple[str, ...]:
        """The keys of one factor: one whole matrix, or two whose product it is."""
        if name in parts:
            return (parts[name],)
        self._complete(parts, (f"{name}_a", f"{name}_b"), module)
        a, b = parts[f"{name}_a"], parts[f"{name}_b"]
        if self._shape(a)[1] != self._shape(b)[0]:
            raise self._misfit(b, a)
        return a, b

    def _norm(self, handle: BinaryIO, keys: tuple[str, ...]) -> float | None:
        matrices = [self._read(handle, key) for key in keys]
        if any(matrix is None for matrix in matrices):
            return None
        known = [matrix for matrix in matrices if matrix is not None]
        return _norm_of_product(known[0], known[1]) if len(known) == 2 else math.sqrt(float((known[0] ** 2).sum()))

    def _hadamard(self, handle: BinaryIO, module: str, parts: Mapping[str, str]) -> _Measured:
        a1, b1 = self._factor(parts, "hada_w1", module)
        a2, b2 = self._factor(parts, "hada_w2", module)
        rank, inputs = self._shape(b1)
        outputs = self._shape(a1)[0]
        if (self._shape(a2)[0], self._shape(b2)[1]) != (outputs, inputs):
            raise self._misfit(a2, a1)
        scale = (self._stored_alpha(parts, rank) or rank) / rank
        matrices = [self._read(handle, key) for key in (a1, b1, a2, b2)]
        known = [matrix for matrix in matrices if matrix is not None]
        if len(known) < 4 or "hada_t1" in parts:
            return rank, scale, outputs, inputs, None
        return rank, scale, outputs, inputs, abs(scale) * _norm_of_elementwise(*known)

    def _scale(self, module: str, parts: Mapping[str, str], rank: int) -> float:
        """alpha / rank, or alpha / √rank; a tensor beats the configuration, and without either loaders take 1."""
        if "alpha" in parts:
            return self._stored_alpha(parts, rank) / rank
        alpha = self._settings.get("lora_alpha")
        patterns = self._settings.get("alpha_pattern")
        for pattern, value in (patterns if isinstance(patterns, dict) else {}).items():
            if adapter_names.pattern_fits(str(pattern), module):
                alpha = value
                break
        if isinstance(alpha, bool) or not isinstance(alpha, int | float):
            return 1.0
        return float(alpha) / (math.sqrt(rank) if self._settings.get("use_rslora") is True else rank)

    def _stored_alpha(self, parts: Mapping[str, str], rank: int) -> float:
        """What the file says; loaders of these formats take the rank where it says nothing."""
        if "alpha" not in parts:
            return float(rank)
        value = self._header.scalar(parts["alpha"])
        if value is None or not math.isfinite(value):
            raise _broken(self._header.path, parts["alpha"], "it is not one finite number")
        return value

    def _complete(self, parts: Mapping[str, str], wanted: tuple[str, ...], module: str) -> None:
        missing = [part for part in wanted if part not in parts]
        if missing:
            other = next((parts[part] for part in wanted if part in parts), module)
            raise _broken(self._header.path, other, f"its {missing[0]} is missing")

    def _misfit(self, key: str, other: str) -> AdapterError:
        shapes = f"its shape {list(self._header.tensors[key].shape)}"
        return _broken(
            self._header.path, key, f"{shapes} does not fit {list(self._header.tensors[other].shape)} of {other}"
        )

    def _shape(self, key: str) -> tuple[int, int]:
        """Rows, and everything else as columns (convolutions are matrices here)."""
        shape = self._header.tensors[key].shape
        if len(shape) < 2 or 0 in shape:
            raise _broken(self._header.path, key, f"shape {list(shape)} is no matrix")
        return shape[0], math.prod(shape[1:])

    def _read(self, handle: BinaryIO, key: str) -> Matrix | None:
        """The tensor as float64 [rows, columns]; None for a type that cannot be read here (8-bit floats)."""
        # 70 ms of numpy, which looking at the header does not need.
        import numpy as np

        info = self._header.tensors[key]
        kinds = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
        if info.dtype not in kinds:
            return None
        handle.seek(self._header.data_start + info.start)
        values = np.frombuffer(handle.read(info.end - info.start), dtype=kinds[info.dtype])
        if info.dtype == "BF16":
            values = (values.astype(np.uint32) << 16).view(np.float32)
        matrix: Matrix = values.astype(np.float64).reshape(self._shape(key))
        if not np.isfinite(matrix).all():
            raise _broken(self._header.path, key, "it holds values that are not numbers")
        return matrix


def _norm_of_product(b: Matrix, a: Matrix) -> float:
    """‖BA‖ of [out, r] and [r, in] through r × r products: tr(AᵀBᵀBA) = ⟨BᵀB, AAᵀ⟩."""
    return math.sqrt(max(0.0, float(((b.T @ b) * (a @ a.T)).sum())))


def _norm_of_elementwise(a1: Matrix, b1: Matrix, a2: Matrix, b2: Matrix) -> float:
    """‖(A₁B₁) ∘ (A₂B₂)‖, some rows at a time."""
    total = 0.0
    for start in range(0, len(a1), _ROWS_AT_A_TIME):
        rows = slice(start, start + _ROWS_AT_A_TIME)
        total += float((((a1[rows] @ b1) * (a2[rows] @ b2)) ** 2).sum())
    return math.sqrt(total)


def _base(modules: list[ModuleChange]) -> str | None:
    """The size of model whose width and number of layers fit; both sizes share the width of keys and of conditions."""
    widths = {module.inputs for module in modules if _INTO.fullmatch(module.target)}
    widths |= {module.outputs for module in modules if _OUT_OF.search(module.target)}
    layers = max((module.block + 1 for module in modules if module.block is not None), default=0)
    fitting = [
        name
        for name, shape in (("2B", SHAPE_2B), ("XL", SHAPE_XL))
        if widths == {shape.hidden} and layers <= shape.layers
    ]
    return fitting[0] if len(fitting) == 1 else None


def _recipe(metadata: Mapping[str, str]) -> dict[str, str]:
    """How it was made: our own record, else what kohya's scripts write (`ss_…`)."""
    try:
        own = json.loads(metadata.get(_OWN_RECIPE, "{}"))
    except ValueError:
        own = {}
    if isinstance(own, dict) and own:
        return {str(key): str(value) for key, value in own.items() if value not in (None, "")}
    return {key.removeprefix(_KOHYA): value for key, value in metadata.items() if key.startswith(_KOHYA)}
