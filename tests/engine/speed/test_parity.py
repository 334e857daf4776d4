"""Each switch computes what the stock model computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers.models.transformers import ace_step_transformer as stock_model

from sidestep_tui.engine import adapters
from sidestep_tui.engine.speed import attention, contiguous, lora, norms, switches
from sidestep_tui.schema.settings import Settings

EXACT = 1e-5
SWITCHES: dict[str, Callable[[torch.nn.Module], Any]] = {
    "attention": lambda model: switches.use_windows(model, attention.by_blocks),
    "attention with a key for each head": lambda model: switches.use_windows(
        model, attention.by_blocks, equal_heads=True
    ),
    "norms": lambda model: switches.use_fused_norms(model, one_kernel=False),
    "norms in one kernel": lambda model: switches.use_fused_norms(model, one_kernel=True),
    "contiguous": switches.use_contiguous,
    "lora": switches.use_lean_lora,
}


@pytest.mark.parametrize("switch", SWITCHES)
def test_each_switch_alone_equals_the_stock_model(switch: str, new_model: Any, run_pass: Any, apart: Any) -> None:
    expected = run_pass(new_model(), batch=2)
    model = new_model()
    assert SWITCHES[switch](model) != 0
    assert apart(run_pass(model, batch=2), expected) <= EXACT


@pytest.mark.parametrize("tokens", [3, 16, 17, 18, 64, 77, 128, 150])
@pytest.mark.parametrize("batch", [1, 2])
def test_windows_are_exact_at_every_length(
    tokens: int, batch: int, new_model: Any, run_pass: Any, apart: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below, at and above the window (16), whole numbers of blocks and others."""
    monkeypatch.setattr(attention, "_BLOCK", 64)
    expected = run_pass(new_model(), tokens=tokens, batch=batch)
    model = new_model()
    switches.use_windows(model, attention.by_blocks)
    assert apart(run_pass(model, tokens=tokens, batch=batch), expected) <= EXACT


@pytest.mark.parametrize("length", [129, 130, 256, 385, 750])
def test_blocks_of_the_real_window_hear_what_the_dense_mask_lets_them_hear(length: int) -> None:
    source = torch.Generator().manual_seed(length)
    query, key, value = (torch.randn((2, length, heads, 8), generator=source) for heads in (4, 2, 2))
    mask = stock_model._create_4d_mask(
        length, torch.float32, query.device, sliding_window=128, is_sliding_window=True, is_causal=False
    )
    expected = torch.nn.functional.scaled_dot_product_attention(
        query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), attn_mask=mask, enable_gqa=True
    ).transpose(1, 2)
    found = attention.by_blocks(query, key, value, 128)
    assert float((found - expected).abs().max()) <= EXACT * float(expected.abs().max())


def test_all_switches_together_equal_the_stock_model(new_model: Any, run_pass: Any, apart: Any) -> None:
    expected = run_pass(new_model(), tokens=150, batch=2)
    model = new_model()
    switches.apply(model, Settings(), torch.device("cpu"), torch.float32)
    assert apart(run_pass(model, tokens=150, batch=2), expected) <= EXACT


def test_bfloat16_is_as_close_to_the_stock_model_as_rounding_allows(new_model: Any, run_pass: Any, apart: Any) -> None:
    exact = run_pass(new_model(), batch=2)
    expected = run_pass(new_model(dtype=torch.bfloat16), batch=2, dtype=torch.bfloat16)
    model = new_model(dtype=torch.bfloat16)
    switches.apply(model, Settings(), torch.device("cpu"), torch.bfloat16)
    found = run_pass(model, batch=2, dtype=torch.bfloat16)
    assert float((found[0] - expected[0]).abs().max()) <= 0.05 * float(expected[0].abs().max())
    # No further from float32 than the stock model, within a half.
    assert apart(found, exact) <= 1.5 * apart(expected, exact)


@pytest.mark.parametrize("kind", ["dora", "lokr", "loha", "oft"])
def test_other_adapters_keep_their_own_forward(kind: str, new_model: Any, run_pass: Any, apart: Any) -> None:
    options = {"oft_block_size": 8} if kind == "oft" else {}
    expected = run_pass(new_model(kind, **options), batch=2)
    model = new_model(kind, **options)
    words = switches.apply(model, Settings(), torch.device("cpu"), torch.float32)
    assert "lean LoRA" not in words
    assert not any(isinstance(module, lora.LeanLoraLinear) for module in model.modules())
    assert apart(run_pass(model, batch=2), expected) <= EXACT


def test_lora_with_dropout_keeps_the_forward_of_peft(new_model: Any) -> None:
    assert switches.use_lean_lora(new_model(dropout=0.1)) == 0


@pytest.mark.parametrize("checkpointing", [False, True])
def test_matrices_that_are_cast_ahead_give_the_same_bits(checkpointing: bool, new_model: Any, run_pass: Any) -> None:
    answers = []
    for ahead in (False, True):
        model = new_model(dtype=torch.bfloat16)
        assert switches.use_lean_lora(model)
        if checkpointing:
            model.enable_gradient_checkpointing()
        if ahead:
            lora.cast_ahead(model, torch.bfloat16)
        run_pass(model, dtype=torch.bfloat16)  # what one pass leaves behind must not reach the next
        with torch.no_grad():
            for parameter in adapters.trainable(model).values():
                parameter.mul_(1.5)
        answers.append(run_pass(model, dtype=torch.bfloat16))
    (plain, gradients), (cast, of_cast) = answers
    assert torch.equal(plain, cast)
    assert all(torch.equal(gradients[name], of_cast[name]) for name in gradients | of_cast)
    assert all(gradient.dtype == torch.float32 for gradient in of_cast.values())


def test_all_casts_of_a_pass_are_one_operation(new_model: Any, run_pass: Any) -> None:
    def casts(model: torch.nn.Module) -> int:
        with torch.profiler.profile() as profile:
            run_pass(model, dtype=torch.bfloat16)
        found = {event.key: event.count for event in profile.key_averages()}
        return found["aten::_to_copy"]

    model = new_model(dtype=torch.bfloat16)
    layers = switches.use_lean_lora(model)
    before = casts(model)
    lora.cast_ahead(model, torch.bfloat16)
    assert before - casts(model) == 4 * layers  # A, B, and the gradient of each


def test_a_switched_off_adapter_leaves_the_base_model(new_model: Any) -> None:
    model = new_model()
    switches.use_lean_lora(model)
    layers = [module for module in model.modules() if isinstance(module, lora.LeanLoraLinear)]
    assert len(layers) == 22
    layer = layers[0]
    x = torch.randn((2, 5, layer.in_features))
    layer.enable_adapters(enabled=False)
    assert torch.equal(layer(x), layer.base_layer(x))
    layer.enable_adapters(enabled=True)
    assert not torch.equal(layer(x), layer.base_layer(x))


def test_every_switch_can_be_left_off(new_model: Any) -> None:
    model = new_model()
    off = Settings.model_validate({"speed": {"attention": "stock", "fused": False, "lean_lora": False}})
    before = [type(module) for module in model.modules()]
    assert switches.apply(model, off, torch.device("cpu"), torch.float32) == "Computed as diffusers and peft do."
    assert [type(module) for module in model.modules()] == before
    assert not any(
        isinstance(module.processor, attention.WindowedAttention)
        for module in model.modules()
        if hasattr(module, "processor")
    )


def test_the_stock_model_is_there_when_asked_for_and_gone_again(new_model: Any, run_pass: Any) -> None:
    plain = run_pass(new_model(), tokens=80)
    model = new_model()
    names = list(model.state_dict())
    switches.apply(model, Settings(), torch.device("cpu"), torch.float32)
    assert list(model.state_dict()) == names
    fast = run_pass(model, tokens=80)
    with switches.stock(model):
        within = run_pass(model, tokens=80)
        assert not any(
            isinstance(module, (norms.LeanRMSNorm, lora.LeanLoraLinear, contiguous.ContiguousConv1d))
            for module in model.modules()
        )
    assert torch.equal(within[0], plain[0])
    assert all(torch.equal(within[1][name], plain[1][name]) for name in plain[1])
    again = run_pass(model, tokens=80)
    assert torch.equal(again[0], fast[0])
    assert not torch.equal(fast[0], plain[0])


def test_activations_lie_in_memory_order(new_model: Any, run_pass: Any) -> None:
    model = new_model()
    seen: list[bool] = []
    model.layers[0].register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["hidden_states"].is_contiguous()), with_kwargs=True
    )
    run_pass(model)
    switches.use_contiguous(model)
    run_pass(model)
    assert seen == [False, True]


def test_the_model_builds_no_mask(new_model: Any, run_pass: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[int] = []
    make = stock_model._create_4d_mask
    monkeypatch.setattr(
        stock_model, "_create_4d_mask", lambda **given: (built.append(given["seq_len"]), make(**given))[1]
    )
    model = new_model()
    run_pass(model)
    assert built == [50]
    switches.use_windows(model, attention.by_blocks)
    run_pass(model)
    assert built == [50]


def test_a_mask_is_refused_rather_than_ignored(new_model: Any) -> None:
    attn = new_model().layers[0].self_attn
    processor = attention.WindowedAttention(attention.by_blocks)
    with pytest.raises(ValueError, match="no mask"):
        processor(attn, torch.zeros((1, 4, 32)), attention_mask=torch.ones((1, 4)))
