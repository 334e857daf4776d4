"""Audio to latents: 48 kHz stereo through the VAE's encoder, 25 frames of 64 channels a second.

ACESTEP_FACTS.md §3.1. The mean of the posterior is taken, not a sample of it: it is the VAE's best guess, and the same
song always gives the same latents, so that they can be cached.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torchaudio.functional
from torch import nn

from sidestep_tui.core.errors import DataError, ModelError
from sidestep_tui.dataset import audio
from sidestep_tui.engine.variants import HOP, SAMPLE_RATE

FRAMES_PER_SECOND = SAMPLE_RATE // HOP
_SHORTEST_FRAMES = FRAMES_PER_SECOND
_LOUDEST_PEAK = 100.0
"""40 dB over full scale: no master is that loud, and clipped to ±1 it would be noise."""
_SMALLEST_TILE = 6 * SAMPLE_RATE


def load_audio(path: Path, max_seconds: float) -> torch.Tensor:
    """The samples of a file as the VAE wants them: float32 [2, S] at 48 kHz within ±1, at most `max_seconds`.

    One channel is doubled, of more than two the first two are taken. DataError for what cannot be read, holds no
    second of sound, holds values that are not numbers, or is absurdly loud.
    """
    return read_audio(path, max_seconds).clamp(-1.0, 1.0)


def read_audio(path: Path, max_seconds: float) -> torch.Tensor:
    """`load_audio` without the limit of ±1, which files of floating point may pass: what a gain can still undo."""
    decoded, rate = audio.decode(path, max_seconds)
    samples = torch.from_numpy(decoded[:2])
    if (peak := float(samples.abs().max())) > _LOUDEST_PEAK:
        raise DataError(
            f"{path.name} is far too loud.",
            f"Its samples reach {peak:.3g}, where 1 is full scale.",
            "Export it again, as 16-bit or 24-bit wav or flac.",
        )
    if samples.shape[0] == 1:
        samples = samples.repeat(2, 1)
    if rate != SAMPLE_RATE:
        samples = torchaudio.functional.resample(samples, rate, SAMPLE_RATE)
    samples = samples[:, : int(max_seconds * SAMPLE_RATE)]
    if samples.shape[1] < _SHORTEST_FRAMES * HOP:
        raise DataError(
            f"{path.name} is shorter than one second.",
            f"It holds {samples.shape[1] / SAMPLE_RATE:.2f} s of sound.",
            "Remove it, or replace it by a longer piece.",
        )
    return samples


def encode(vae: Any, samples: torch.Tensor, name: str = "The song") -> torch.Tensor:
    """Latents of [2, S] samples: float32 [T, 64] on the CPU, T = S // 1920; a rest shorter than a frame is left out.

    More than 30 s goes through in tiles with 2 s of overlap, and only the tile at hand is on the device, so that its
    memory does not grow with the song. Where the GPU has no room, tiles are halved, which moves values by about 1e-7.
    `name` is what messages call the song.
    """
    frames = samples.shape[1] // HOP
    with torch.inference_mode():
        mean = _encode_where_it_fits(vae, samples[:, : frames * HOP])
    latents = mean.T.to(torch.float32).contiguous()
    if not bool(torch.isfinite(latents).all()):
        raise ModelError(
            f"The latents of {name} are not finite.",
            "The sound itself is, so the weights of the VAE are damaged.",
            "Download the vae directory again.",
        )
    return latents


def _encode_where_it_fits(vae: Any, samples: torch.Tensor) -> torch.Tensor:
    """Posterior mean [64, T], on the CPU."""
    while True:
        try:
            return torch.cat([_encode_tile(vae, samples, start) for start in _tile_starts(vae, samples)], dim=1)
        except torch.cuda.OutOfMemoryError:
            half = vae.tile_sample_min_length // 2 // HOP * HOP
            if half < _SMALLEST_TILE:
                raise
        # Outside the handler, where the traceback no longer holds the tensors that did not fit.
        vae.tile_sample_min_length = half
        torch.cuda.empty_cache()


def _tile_starts(vae: Any, samples: torch.Tensor) -> range:
    """Where the core of each tile begins; one tile for what fits into it with its overlap."""
    length = samples.shape[1]
    return range(0, length, length if length <= vae.tile_sample_min_length else _stride(vae))


def _stride(vae: Any) -> int:
    return int(vae.tile_sample_min_length - 2 * vae.tile_sample_overlap)


def _encode_tile(vae: Any, samples: torch.Tensor, start: int) -> torch.Tensor:
    """Mean of the core that begins at `start`, computed with the overlap on both sides and brought to the CPU.

    The same tiles as diffusers' own `enable_tiling`, which wants the whole song on the device.
    """
    length = samples.shape[1]
    end = length if length <= vae.tile_sample_min_length else min(start + _stride(vae), length)
    begin, until = max(0, start - vae.tile_sample_overlap), min(length, end + vae.tile_sample_overlap)
    parameter = next(vae.parameters())
    tile = samples[:, begin:until].unsqueeze(0).to(parameter.device, parameter.dtype)
    mean: torch.Tensor = vae.encode(tile).latent_dist.mean[0]
    if mean.shape[1] != (until - begin) // HOP:
        raise ModelError(
            f"The VAE made {mean.shape[1]} frames where {(until - begin) // HOP} were due.",
            "Its downsampling ratios do not fit its weights.",
            "Download the vae directory again.",
        )
    first = (start - begin) // HOP
    return mean[:, first : first + (end - start) // HOP].to("cpu")


def drop_identities(vae: Any) -> int:
    """Take out residual units of the encoder that add exactly nothing, and return how many there were.

    A unit whose last convolution is all zeros returns its input. The real VAE has none; the embedded one has them in
    the stages at high rates, which cannot be narrow, and encodes ten times faster without. Results stay the same.
    """
    from diffusers.models.autoencoders.autoencoder_oobleck import OobleckResidualUnit

    dropped = 0
    for block in vae.encoder.block:
        for name, unit in list(block.named_children()):
            if not isinstance(unit, OobleckResidualUnit):
                continue
            last = unit.conv2
            if not bool(last.weight_g.any()) and not bool(last.bias.any()):
                setattr(block, name, nn.Identity())
                dropped += 1
    return dropped
