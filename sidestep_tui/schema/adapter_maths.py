"""The shapes of an adapter's weights, without torch: what the engine builds and the memory estimate counts.

LoKr writes a change of [out, in] as a Kronecker product W1 ⊗ W2, LoHa as a product element by element of two low-rank
matrices (LyCORIS: Yeh et al. 2023, "Navigating Text-To-Image Customization"). OFT rotates blocks of the input
(Qiu et al. 2023).
"""

from __future__ import annotations

import math

from sidestep_tui.schema.adapter import AdapterSettings

Shapes = dict[str, tuple[int, int]]

KIND_NAMES = {"lora": "LoRA", "dora": "DoRA", "lokr": "LoKr", "loha": "LoHa", "oft": "OFT"}
"""How each kind is written."""

# Every matrix of the published models, as (out, in): the projections of the 2B and XL attentions and their MLPs.
_PUBLISHED = ((2048, 2048), (1024, 2048), (6144, 2048), (4096, 2560), (1024, 2560), (9728, 2560))


def size_words(adapter: AdapterSettings) -> str:
    """What the size of an adapter is called: `rank 64`, or what a kind has instead."""
    if adapter.kind == "oft":
        return f"blocks of {adapter.oft_block_size}"
    if adapter.kind == "lokr" and adapter.lokr_full_matrix:
        return "full matrices"
    return f"rank {adapter.rank}"


def factors(size: int, factor: int) -> tuple[int, int]:
    """`size` as a product, the smaller number first: of `factor` if it divides, else as near as possible below.

    A factor under 1 means automatic: the most even product. The rule is LyCORIS' `factorization`: 2048 becomes
    (32, 64) automatically and (8, 256) with factor 8 (ACESTEP_FACTS.md §5.4).
    """
    if factor > 0 and size % factor == 0:
        return min(factor, size // factor), max(factor, size // factor)
    limit = math.isqrt(size) if factor < 1 else min(factor, math.isqrt(size))
    small = next(divisor for divisor in range(limit, 0, -1) if size % divisor == 0)
    return small, size // small


def lokr_shapes(adapter: AdapterSettings, outputs: int, inputs: int) -> Shapes:
    """LoKr's weights on a matrix [outputs, inputs], by the names of LyCORIS files.

    A factor is stored whole where the rank reaches half its longer side, as splitting it would save nothing.
    """
    out_small, out_large = factors(outputs, adapter.lokr_factor)
    in_small, in_large = factors(inputs, adapter.lokr_factor)
    rank, split = adapter.rank, not adapter.lokr_full_matrix
    shapes: Shapes = {}
    if split and adapter.lokr_decompose_both and 2 * rank < max(out_small, in_small):
        shapes |= {"lokr_w1_a": (out_small, rank), "lokr_w1_b": (rank, in_small)}
    else:
        shapes["lokr_w1"] = (out_small, in_small)
    if split and 2 * rank < max(out_large, in_large):
        shapes |= {"lokr_w2_a": (out_large, rank), "lokr_w2_b": (rank, in_large)}
    else:
        shapes["lokr_w2"] = (out_large, in_large)
    return shapes


def loha_shapes(adapter: AdapterSettings, outputs: int, inputs: int) -> Shapes:
    """LoHa's weights on a matrix [outputs, inputs], by the names of LyCORIS files: ΔW = (A₁B₁) ∘ (A₂B₂)."""
    up, down = (outputs, adapter.rank), (adapter.rank, inputs)
    return {"hada_w1_a": up, "hada_w1_b": down, "hada_w2_a": up, "hada_w2_b": down}


def scale(adapter: AdapterSettings) -> float:
    """What the adapter's change is multiplied by: alpha / rank, with rsLoRA alpha / √rank.

    1 where alpha has no say.
    """
    if not has_scale(adapter):
        return 1.0
    return adapter.alpha / (math.sqrt(adapter.rank) if adapter.rslora else adapter.rank)


def has_scale(adapter: AdapterSettings) -> bool:
    """Whether rank and alpha decide how strongly the adapter acts: not in OFT, nor in a LoKr of whole factors."""
    return adapter.kind != "oft" and not (adapter.kind == "lokr" and is_whole(adapter))


def is_whole(adapter: AdapterSettings) -> bool:
    """Whether LoKr keeps both factors whole on every matrix of the published models: rank and alpha then do nothing."""
    return all("lokr_w1" in shapes and "lokr_w2" in shapes for shapes in _published(adapter))


def _published(adapter: AdapterSettings) -> list[Shapes]:
    return [lokr_shapes(adapter, outputs, inputs) for outputs, inputs in _PUBLISHED]


def matrix_parameters(adapter: AdapterSettings, outputs: int, inputs: int, *, rank: int | None = None) -> int:
    """Trainable weights on one matrix [outputs, inputs]; a LoRA's or DoRA's at `rank` where that is another one."""
    own = adapter.rank if rank is None else rank
    match adapter.kind:
        case "lokr":
            return _count(lokr_shapes(adapter, outputs, inputs))
        case "loha":
            return _count(loha_shapes(adapter, outputs, inputs))
        case "oft":
            # Each block is turned by a rotation made from a skew-symmetric matrix.
            return inputs * (adapter.oft_block_size - 1) // 2
        case "dora":
            return own * (outputs + inputs) + outputs
        case _:
            return own * (outputs + inputs)


def kept_per_token(adapter: AdapterSettings, outputs: int, inputs: int) -> int:
    """Values that the backward pass of LoKr needs on a matrix besides its input: x with one factor applied."""
    small = factors(inputs, adapter.lokr_factor)[0]
    shapes = lokr_shapes(adapter, outputs, inputs)
    if "lokr_w2" in shapes:
        return small * shapes["lokr_w2"][0]
    return small * sum(shapes["lokr_w2_a"])


def _count(shapes: Shapes) -> int:
    return sum(rows * columns for rows, columns in shapes.values())
