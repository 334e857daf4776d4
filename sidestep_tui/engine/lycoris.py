"""LoKr and LoHa beside frozen linear layers, in the file format of LyCORIS.

The forward pass is what LyCORIS calls bypass mode: base output plus the adapter's own. Its other mode trains through
(W + ΔW) − W in the base's precision, which loses most of a small ΔW on a bfloat16 base (ENGINE.md). The modules are
our own because those of LyCORIS keep targets in class-level state, live outside the model they adapt, and pick kernels
call by call; the weights, names and scales are LyCORIS 4.1's, and the tests compare against it. Of the formats that
consumers read this is the one: ACE-Step's app, Side-Step, ComfyUI and LyCORIS load `lokr_weights.safetensors`
(ACESTEP_FACTS.md §5.4), Side-Step, ComfyUI and LyCORIS `loha_weights.safetensors`; peft's LoKr has names of its own.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

from sidestep_tui.engine.keymap import path_to_lycoris
from sidestep_tui.engine.writer import on_host
from sidestep_tui.schema import adapter_maths
from sidestep_tui.schema.adapter import AdapterSettings

KINDS = ("lokr", "loha")
ALPHA = "alpha"
WHOLE_DIM = 10_000
"""The dimension that stands for whole factors, as Side-Step writes it: every loader then keeps both whole."""


class BypassLinear(torch.nn.Module):
    """A frozen linear layer and a small change beside it: x [..., in] → base(x) + Δ(x) [..., out].

    The weights are float32: on the CPU, so that every device starts from the same draws, or on meta like the base.
    `alpha` is what the file says; the change is multiplied by alpha / rank, or by 1 where nothing is split at a rank.
    """

    def __init__(self, base: torch.nn.Linear, shapes: adapter_maths.Shapes, alpha: float) -> None:
        super().__init__()
        self.base_layer = base
        self.alpha = alpha
        rank = split_rank(shapes)
        self.scale = 1.0 if rank is None else alpha / rank
        device = "meta" if base.weight.is_meta else "cpu"
        for name, shape in shapes.items():
            self.register_parameter(name, torch.nn.Parameter(torch.zeros(shape, dtype=torch.float32, device=device)))
        if not base.weight.is_meta:
            self.reset_parameters()

    def get_base_layer(self) -> torch.nn.Linear:
        """The layer that is adapted, as peft's layers answer."""
        return self.base_layer

    def own_parameters(self) -> dict[str, torch.nn.Parameter]:
        """The adapter's weights by their names in files."""
        return dict(self.named_parameters(recurse=False))

    def reset_parameters(self) -> None:
        """Draw the first weights; they must not change the output."""
        raise NotImplementedError

    def delta(self, x: torch.Tensor) -> torch.Tensor:
        """The change of the output [..., out]."""
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base_layer(x) + self.delta(x)


class LokrLinear(BypassLinear):
    """ΔW = scale · W1 ⊗ W2, applied without building it: [..., in] is [..., in₁, in₂], and each factor takes a side."""

    def reset_parameters(self) -> None:
        """Uniform within ±1/√columns, as in LyCORIS and every linear layer, and one factor at zero."""
        for name, parameter in self.own_parameters().items():
            if name not in ("lokr_w2", "lokr_w2_b"):
                torch.nn.init.kaiming_uniform_(parameter, a=math.sqrt(5))

    def first_factor(self) -> torch.Tensor:
        """W1 [out₁, in₁], multiplied by the scale, as the smallest thing that can be."""
        own = self._parameters
        whole = own["lokr_w1"] if "lokr_w1" in own else own["lokr_w1_a"] @ own["lokr_w1_b"]
        return whole if self.scale == 1.0 else whole * self.scale

    def delta(self, x: torch.Tensor) -> torch.Tensor:
        own = self._parameters
        first = self.first_factor()
        grouped = x.unflatten(-1, (first.shape[1], -1))
        if "lokr_w2" in own:
            second = F.linear(grouped, own["lokr_w2"].to(x.dtype))
        else:
            second = F.linear(F.linear(grouped, own["lokr_w2_b"].to(x.dtype)), own["lokr_w2_a"].to(x.dtype))
        crossed = F.linear(second.transpose(-1, -2), first.to(x.dtype))
        return crossed.transpose(-1, -2).flatten(-2)


class LohaLinear(BypassLinear):
    """ΔW = scale · (A₁B₁) ∘ (A₂B₂), rebuilt in the backward pass instead of kept."""

    def reset_parameters(self) -> None:
        """As in LyCORIS: normal with deviations 1 and 0.1, and one factor at zero."""
        for name, spread in (("hada_w1_b", 1.0), ("hada_w1_a", 0.1), ("hada_w2_b", 1.0)):
            torch.nn.init.normal_(self._parameters[name], std=spread)

    def delta(self, x: torch.Tensor) -> torch.Tensor:
        own = self._parameters
        change: torch.Tensor = _HadamardLinear.apply(
            x, own["hada_w1_a"], own["hada_w1_b"], own["hada_w2_a"], own["hada_w2_b"], self.scale
        )
        return change


class _HadamardLinear(torch.autograd.Function):
    """x [..., in] → scale · x ((A₁B₁) ∘ (A₂B₂))ᵀ [..., out], keeping x and the four factors alone.

    Kept by autograd, the products [out, in] would take three times the adapted matrices' own memory.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        a1: torch.Tensor,
        b1: torch.Tensor,
        a2: torch.Tensor,
        b2: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        ctx.save_for_backward(x, a1, b1, a2, b2)
        ctx.scale = scale
        left, right = _products(a1, b1, a2, b2, x.dtype)
        return F.linear(x, left.mul_(right).mul_(scale))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        x, a1, b1, a2, b2 = ctx.saved_tensors
        gradient = gradients[0].to(x.dtype)
        left, right = _products(a1, b1, a2, b2, x.dtype)
        to_x = gradient @ (left * right * ctx.scale) if ctx.needs_input_grad[0] else None
        of_weight = (gradient.flatten(0, -2).T @ x.flatten(0, -2)).to(a1.dtype) * ctx.scale
        of_left, of_right = of_weight * right, of_weight.mul_(left)
        return to_x, of_left @ b1.T, a1.T @ of_left, of_right @ b2.T, a2.T @ of_right, None


def _products(
    a1: torch.Tensor, b1: torch.Tensor, a2: torch.Tensor, b2: torch.Tensor, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """A₁B₁ and A₂B₂ [out, in] in the precision of the input."""
    return a1.to(dtype) @ b1.to(dtype), a2.to(dtype) @ b2.to(dtype)


def split_rank(shapes: adapter_maths.Shapes) -> int | None:
    """What alpha is divided by: the inner dimension of a split factor; None where both are whole."""
    split = next((name for name in ("lokr_w1_b", "lokr_w2_b", "hada_w1_b") if name in shapes), None)
    return None if split is None else shapes[split][0]


def dimension(settings: AdapterSettings) -> int:
    """The rank as files state it."""
    return WHOLE_DIM if settings.kind == "lokr" and settings.lokr_full_matrix else settings.rank


def file_alpha(settings: AdapterSettings) -> float:
    """Alpha as files state it, for loaders that divide by the rank: that of rsLoRA is multiplied by √rank."""
    if settings.kind == "lokr" and settings.lokr_full_matrix:
        return float(WHOLE_DIM)
    return settings.alpha * math.sqrt(settings.rank) if settings.rslora else settings.alpha


def inject(transformer: torch.nn.Module, names: list[str], settings: AdapterSettings) -> None:
    """Freeze the transformer and put a fresh adapter beside each of the linear layers `names`."""
    shapes_of = adapter_maths.lokr_shapes if settings.kind == "lokr" else adapter_maths.loha_shapes
    alpha = file_alpha(settings)
    plans = {}
    for name in names:
        base = transformer.get_submodule(name)
        shapes = shapes_of(settings, base.out_features, base.in_features)
        # LyCORIS writes the dimension for alpha where alpha does nothing.
        plans[name] = shapes, float(dimension(settings)) if split_rank(shapes) is None else alpha
    attach(transformer, plans)


def attach(transformer: torch.nn.Module, plans: dict[str, tuple[adapter_maths.Shapes, float]]) -> None:
    """Freeze the transformer and adapt each layer of `plans`, which gives shapes and alpha."""
    transformer.requires_grad_(False)
    for name, (shapes, alpha) in plans.items():
        base = transformer.get_submodule(name)
        if not isinstance(base, torch.nn.Linear):
            raise TypeError(f"{name} is no linear layer")
        kind = LohaLinear if "hada_w1_a" in shapes else LokrLinear
        transformer.set_submodule(name, kind(base, shapes, alpha))


def layers(transformer: torch.nn.Module) -> dict[str, BypassLinear]:
    """The adapted layers by name, in model order."""
    return {name: module for name, module in transformer.named_modules() if isinstance(module, BypassLinear)}


def state_dict(transformer: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The adapter's tensors on the CPU, under the names of LyCORIS files, with each layer's alpha."""
    tensors: dict[str, torch.Tensor] = {}
    for name, layer in layers(transformer).items():
        stem = path_to_lycoris(name)
        tensors[f"{stem}.{ALPHA}"] = torch.tensor(layer.alpha, dtype=torch.float32)
        for part, parameter in layer.own_parameters().items():
            tensors[f"{stem}.{part}"] = parameter
    return on_host(tensors)


def put(transformer: torch.nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    """Copy `tensors`, names and shapes already checked, into the adapter."""
    with torch.no_grad():
        for name, layer in layers(transformer).items():
            for part, parameter in layer.own_parameters().items():
                parameter.copy_(tensors[f"{path_to_lycoris(name)}.{part}"])


def plans_of(
    transformer: torch.nn.Module, tensors: dict[str, torch.Tensor], alpha: float | None
) -> tuple[dict[str, tuple[adapter_maths.Shapes, float]], list[str]]:
    """What `attach` needs to hold `tensors`, and the file's modules that the model does not have.

    `alpha` serves modules without one of their own. Raises ValueError naming a module that has neither.
    """
    linears = {
        path_to_lycoris(name): name
        for name, module in transformer.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    grouped: dict[str, adapter_maths.Shapes] = {}
    for key, tensor in tensors.items():
        stem, _, part = key.partition(".")
        shapes = grouped.setdefault(stem, {})
        if part != ALPHA:
            rows, columns = tensor.shape if tensor.dim() == 2 else (0, 0)
            shapes[part] = rows, columns
    stray = sorted(grouped.keys() - linears.keys())
    plans: dict[str, tuple[adapter_maths.Shapes, float]] = {}
    for stem in grouped.keys() - set(stray):
        stored = tensors.get(f"{stem}.{ALPHA}")
        value = float(stored) if stored is not None else alpha
        if value is None:
            raise ValueError(f"{stem} has no alpha")
        base = transformer.get_submodule(linears[stem])
        if problem := _misfit(grouped[stem], base.out_features, base.in_features):
            raise ValueError(f"{stem}: {problem}")
        plans[linears[stem]] = grouped[stem], value
    order = [name for name in linears.values() if name in plans]
    return {name: plans[name] for name in order}, stray


def _misfit(shapes: adapter_maths.Shapes, outputs: int, inputs: int) -> str:
    """Why these weights cannot be on a matrix [outputs, inputs]; empty if they can."""
    if set(shapes) == {"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}:
        made = {(shapes[f"hada_{pair}_a"][0], shapes[f"hada_{pair}_b"][1]) for pair in ("w1", "w2")}
        ranks = {shapes[f"hada_{pair}_{side}"][axis] for pair in ("w1", "w2") for side, axis in (("a", 1), ("b", 0))}
        return "" if made == {(outputs, inputs)} and len(ranks) == 1 else f"it does not fit {outputs} × {inputs}"
    sizes = [1, 1]
    for factor in ("lokr_w1", "lokr_w2"):
        parts = {name for name in shapes if name.startswith(factor)}
        if parts == {factor}:
            rows, columns = shapes[factor]
        elif parts == {f"{factor}_a", f"{factor}_b"} and shapes[f"{factor}_a"][1] == shapes[f"{factor}_b"][0]:
            rows, columns = shapes[f"{factor}_a"][0], shapes[f"{factor}_b"][1]
        else:
            return "it does not hold the two factors of a linear layer"
        sizes = [sizes[0] * rows, sizes[1] * columns]
    if any(not name.startswith(("lokr_w1", "lokr_w2")) for name in shapes):
        return "it holds " + ", ".join(sorted(shapes)) + ", of which not all can be loaded"
    return "" if sizes == [outputs, inputs] else f"it is made for {sizes[0]} × {sizes[1]}, not {outputs} × {inputs}"


def document(settings: AdapterSettings, targets: list[str]) -> dict[str, Any]:
    """What `lokr_config` says: the arguments with which LyCORIS rebuilds the adapter. `targets` in original names.

    `rs_lora` stays off because `linear_alpha` already holds its √rank (LyCORIS would scale whole factors by it too).
    """
    common: dict[str, Any] = {
        "linear_dim": dimension(settings),
        "linear_alpha": file_alpha(settings),
        "use_tucker": False,
        "use_scalar": False,
        "weight_decompose": False,
        "target_modules": targets,
        "bypass_mode": True,
        "rs_lora": False,
    }
    if settings.kind == "loha":
        return common
    return common | {
        "factor": settings.lokr_factor if settings.lokr_factor > 0 else -1,
        "decompose_both": settings.lokr_decompose_both,
        "full_matrix": settings.lokr_full_matrix,
        "unbalanced_factorization": False,
    }
