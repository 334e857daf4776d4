"""Attention that looks at the window alone, in place of a dense S × S mask.

The sliding layers of the model let token i hear token j where |i − j| ≤ `sliding_window` (diffusers'
`_create_4d_mask`, the original's `create_4d_mask`). The stock way computes all S² scores and masks most of them; on
GPUs before Hopper that mask even sends the layer to the slowest kernel there is (ENGINE.md §2.1). Here a sliding layer
costs S × window: by a flash kernel that knows windows where there is one, by blocks of queries elsewhere.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.attention_dispatch import AttentionBackendName

Kernel = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, int], torch.Tensor]
"""query [B, S, heads, D], key and value [B, S, kv_heads, D], window → [B, S, heads, D]; the scale is 1 / √D."""

_BLOCK = 256
"""Queries computed at once by blocks: fewer waste less on masked scores, more fill the kernels better."""
_FLASH_TYPES = (torch.bfloat16, torch.float16)


class WindowedAttention:
    """An attention processor of diffusers for `AceStepAttention`: exact windows, no masks, one rotation per tensor.

    With `equal_heads`, keys and values are repeated for each query head: only flash kernels take fewer of them, and
    what is left of SDPA on a GPU without one would keep all pairs of tokens.
    """

    # The model asks for this name to decide whether it builds the S × S mask; a processor that says "flash" does the
    # window itself and is given none.
    _attention_backend = AttentionBackendName.FLASH
    _parallel_config = None

    def __init__(self, kernel: Kernel, *, equal_heads: bool = False) -> None:
        self.kernel = kernel
        self.equal_heads = equal_heads

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        image_rotary_emb: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """hidden_states [B, S, H], encoder_hidden_states [B, E, H] (cross attention only) → [B, S, H]."""
        if attention_mask is not None:
            raise ValueError("windowed attention takes no mask: nothing is ever padded")
        is_cross = attn.is_cross_attention and encoder_hidden_states is not None
        source = encoder_hidden_states if is_cross else hidden_states
        query = attn.norm_q(attn.to_q(hidden_states).unflatten(-1, (attn.heads, attn.head_dim)))
        key = attn.norm_k(attn.to_k(source).unflatten(-1, (attn.kv_heads, attn.head_dim)))
        value = attn.to_v(source).unflatten(-1, (attn.kv_heads, attn.head_dim))
        if image_rotary_emb is not None and not is_cross:
            query, key = rotate(query, *image_rotary_emb), rotate(key, *image_rotary_emb)
        if self.equal_heads:
            key, value = _for_each_head(key, query), _for_each_head(value, query)
        window = attn.sliding_window
        if is_cross or window is None or key.shape[1] <= window + 1:
            answer = dense(query, key, value)
        else:
            answer = self.kernel(query, key, value, window)
        answer = attn.to_out[0](answer.flatten(2, 3))
        return attn.to_out[1](answer)


def dense(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Every query hears every key: query [B, S, heads, D], key and value [B, E, kv_heads, D] → [B, S, heads, D]."""
    answer = F.scaled_dot_product_attention(
        query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), enable_gqa=query.shape[2] != key.shape[2]
    )
    return answer.transpose(1, 2)


def by_blocks(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, window: int) -> torch.Tensor:
    """The window by plain SDPA, a block of queries with the keys that it can hear at a time. Exact, any device."""
    length = query.shape[1]
    query, key, value = query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
    grouped = query.shape[1] != key.shape[1]
    band = _band(_BLOCK, window, query)
    answers = []
    for first in range(0, length, _BLOCK):
        last = min(first + _BLOCK, length)
        low, high = max(first - window, 0), min(last + window, length)
        # The columns of the band begin `window` keys before the block.
        column = low - (first - window)
        mask = band[: last - first, column : column + high - low]
        block = F.scaled_dot_product_attention(
            query[:, :, first:last], key[:, :, low:high], value[:, :, low:high], attn_mask=mask, enable_gqa=grouped
        )
        answers.append(block.transpose(1, 2))
    return torch.cat(answers, dim=1)


def _band(block: int, window: int, like: torch.Tensor) -> torch.Tensor:
    """What a block of queries hears of the keys from `window` before it to `window` behind it: 0 or −∞."""
    ahead = torch.arange(block + 2 * window, device=like.device) - torch.arange(block, device=like.device)[:, None]
    heard = (ahead >= 0) & (ahead <= 2 * window)
    return torch.zeros(heard.shape, dtype=like.dtype, device=like.device).masked_fill_(~heard, float("-inf"))


def by_flash(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, window: int) -> torch.Tensor:
    """The window by torch's flash kernel for sequences of any length, each of the batch being one (CUDA, 16 bits)."""
    from torch.nn.attention.varlen import varlen_attn

    batch, length, heads, _ = query.shape
    options: dict[str, Any] = {"window_size": (window, window)}
    if heads != key.shape[2]:
        if "enable_gqa" in inspect.signature(varlen_attn).parameters:
            options["enable_gqa"] = True
        else:
            # Its documentation asks for as many key heads as query heads.
            key, value = _for_each_head(key, query), _for_each_head(value, query)
    ends = torch.arange(0, (batch + 1) * length, length, dtype=torch.int32, device=query.device)
    flat = (part.to(value.dtype).flatten(0, 1) for part in (query, key, value))
    answer = varlen_attn(*flat, ends, ends, length, length, **options)
    return answer.unflatten(0, (batch, length))


def _for_each_head(part: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    """[B, S, kv_heads, D] → [B, S, heads, D]."""
    times = query.shape[2] // part.shape[2]
    return part.repeat_interleave(times, dim=2) if times > 1 else part


def flash_windows(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether `by_flash` works here: CUDA of Ampere or later, 16 bits, and a torch whose kernel takes a window."""
    if device.type != "cuda" or dtype not in _FLASH_TYPES or torch.cuda.get_device_capability(device) < (8, 0):
        return False
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return False
    return "window_size" in inspect.signature(varlen_attn).parameters


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary positions for x [B, S, heads, D] with cos and sin [S, D], whose halves are equal (Qwen3's layout).

    In float32 as diffusers' `apply_rotary_emb(use_real_unbind_dim=-2)`, without its copies of negated halves.
    """
    half = x.shape[-1] // 2
    rotated: torch.Tensor = _Rotation.apply(x, cos[:, None], sin[:, None, :half])
    return rotated


class _Rotation(torch.autograd.Function):
    """(x₁, x₂) → (x₁cos − x₂sin, x₂cos + x₁sin); its transpose turns the other way, so that x need not be kept."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(cos, sin)
        return _turned(x, cos, sin, way=1.0)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        cos, sin = ctx.saved_tensors
        return _turned(gradients[0], cos, sin, way=-1.0), None, None


def _turned(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, *, way: float) -> torch.Tensor:
    """In six kernels: products are added in place to the half that they belong to."""
    wide, sin, half = x.float(), sin.float(), x.shape[-1] // 2
    turned = wide * cos
    turned[..., :half].addcmul_(wide[..., half:], sin, value=-way)
    turned[..., half:].addcmul_(wide[..., :half], sin, value=way)
    # A `to` that does nothing would end a Function here, and torch 2.11 compiles such a one without its gradient.
    return turned if turned.dtype == x.dtype else turned.to(x.dtype)
