"""Settings of the adapter: what is trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sidestep_tui.schema.meta import Group, Meta

Projection = Literal["q", "k", "v", "o"]

_LAYERS = r"\d{1,3}(?: ?- ?\d{1,3})?"
_PART = r"(?:(?:self|cross)(?:\.[qkvo])?|mlp(?:\.(?:gate|up|down))?|[qkvo])"
_SELECTOR = rf"(?:layers\.\d{{1,3}}(?:-\d{{1,3}})?(?:\.{_PART})?|{_PART})"


def _list_of(item: str) -> str:
    """The expression for nothing, or items with commas between them."""
    return rf"^(?:{item}(?: ?, ?{item})*)?$"


LAYERS_PATTERN = _list_of(_LAYERS)
RANK_PATTERN = _list_of(rf"{_SELECTOR} ?= ?[1-9]\d{{0,2}}")
ALPHA_PATTERN = _list_of(rf"{_SELECTOR} ?= ?\d{{1,4}}(?:\.\d{{1,4}})?")


class AdapterSettings(Group):
    """The small set of weights that learns your style; the base model stays frozen."""

    kind: Annotated[
        Literal["lora", "dora", "lokr", "loha", "oft"], Meta("kind", costs=("parameters", "memory", "time"))
    ] = "lora"
    """LoRA loads everywhere. DoRA learns more for twice the activation memory. LoKr is tiny and wants three times the
    learning rate. LoHa is slow; OFT turns what layers hear."""

    rank: Annotated[int, Field(ge=1, le=512), Meta("rank", bump="double", costs=("parameters", "memory", "disk"))] = 64
    """Capacity. Lower is faster and smaller and may underfit (16: a subtle touch); higher keeps more detail and may
    overfit small datasets (64 and up: maximum fidelity)."""

    alpha: Annotated[float, Field(gt=0, le=2048), Meta("alpha", bump="double", costs=("quality",))] = 128.0
    """Strength. The adapter's change is multiplied by alpha / rank (by alpha / √rank with rsLoRA), so this acts
    like a learning rate: twice the rank is the usual choice, half the rank keeps transients sharp."""

    dropout: Annotated[float, Field(ge=0, le=0.9), Meta("dropout", step=0.05, costs=("memory", "quality"))] = 0.0
    """Share of the adapter's input dropped at random. 0.1 to 0.2 fights overfitting on few songs; anything above 0
    costs about a third more activation memory."""

    lokr_factor: Annotated[
        int, Field(ge=-1, le=512), Meta("LoKr factor", level="advanced", bump="double", costs=("parameters", "memory"))
    ] = -1
    """LoKr only: how each matrix is divided. -1 divides as evenly as possible, which gives the smallest adapter; 4 to
    16 leave a larger second factor and more capacity (8 on the 2B model: about 11 times the weights)."""

    lokr_full_matrix: Annotated[bool, Meta("LoKr full matrix", level="advanced", costs=("parameters",))] = True
    """LoKr only: keep both factors whole, so that rank and alpha have no say and the change is scaled by 1. Off: the
    larger factor is split at the rank, where that saves anything, and scaled by alpha / rank."""

    lokr_decompose_both: Annotated[bool, Meta("LoKr split both", level="expert", costs=("parameters",))] = False
    """LoKr only, without full matrix: split the smaller factor at the rank too. Fewer weights, less capacity."""

    oft_block_size: Annotated[
        int, Field(ge=2, le=512), Meta("OFT block", level="advanced", bump="double", costs=("parameters", "time"))
    ] = 32
    """OFT only: how many inputs are turned together; a power of two. Larger blocks learn more and weigh more: a matrix
    has half its inputs times the block size less one."""

    rslora: Annotated[bool, Meta("rank-stabilised", level="advanced", costs=("quality",))] = False
    """Scale by alpha / √rank instead of alpha / rank, so that one alpha suits every rank."""

    attention: Annotated[
        Literal["both", "self", "cross", "none"], Meta("attention", costs=("parameters", "memory"))
    ] = "both"
    """Which attention learns: self shapes sound and rhythm, cross how text steers it. Self or cross alone halves the
    adapter."""

    mlp: Annotated[bool, Meta("MLP layers", costs=("parameters", "memory"))] = False
    """Also train the feed-forward layers: more capacity for timbre, nearly twice the parameters."""

    projections: Annotated[
        tuple[Projection, ...], Field(min_length=1), Meta("projections", level="expert", costs=("parameters",))
    ] = ("q", "k", "v", "o")
    """Which of the attention projections learn: query, key, value, output."""

    layers: Annotated[
        str,
        Field(max_length=200, pattern=LAYERS_PATTERN),
        Meta(
            "layers",
            level="advanced",
            allowed="numbers and ranges such as 0-11, 20; empty for all",
            empty_means="all",
            costs=("parameters", "memory", "time"),
        ),
    ] = ""
    """Which of the model's layers learn, counted from 0: `0-11, 20`; empty for all (24 in the 2B model, 32 in XL).
    What lies below the first of them needs no backward pass and no memory for it."""

    rank_pattern: Annotated[
        str,
        Field(max_length=1000, pattern=RANK_PATTERN),
        Meta(
            "rank pattern",
            level="expert",
            allowed="entries such as self.q=128, layers.0-7=32, layers.3.mlp.up=8",
            costs=("parameters", "memory"),
        ),
    ] = ""
    """Other ranks for some matrices of a LoRA or DoRA: `self.q=128, layers.0-7=32`. Parts are self, cross and mlp,
    q, k, v and o, self.q to cross.o, mlp.gate, mlp.up and mlp.down; the last entry that matches counts."""

    alpha_pattern: Annotated[
        str,
        Field(max_length=1000, pattern=ALPHA_PATTERN),
        Meta("alpha pattern", level="expert", allowed="entries such as self.q=256, layers.0-7=64", costs=("quality",)),
    ] = ""
    """Other alphas for some matrices, written as in the rank pattern. A rank that is changed alone also changes how
    strongly its matrix learns, since alpha is divided by it."""

    start_from: Annotated[
        str, Meta("start from", level="advanced", path="directory", costs=("quality",), empty_means="a fresh adapter")
    ] = ""
    """An adapter to go on from instead of a fresh one: a run, an adapter's folder, or a safetensors file of ComfyUI,
    diffusers or LyCORIS. Its kind, targets, ranks and scale must be those of the settings."""

    init: Annotated[Literal["default", "pissa"], Meta("begins with", level="advanced", costs=("memory", "disk"))] = (
        "default"
    )
    """LoRA and DoRA only: `pissa` begins with the principal components of each weight and learns faster at first; its
    files hold twice the rank, so that they fit the original model. `default` begins at nothing."""
