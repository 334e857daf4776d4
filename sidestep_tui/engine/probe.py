"""What a run really needs, measured on its device as a job of its own. Nothing is left on disk."""

from __future__ import annotations

import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sidestep_tui.core import text
from sidestep_tui.core.errors import OutOfMemoryError, SidestepError
from sidestep_tui.engine import failures
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.schema import fit_ladder, memory_model
from sidestep_tui.schema.fields import fields_by_path
from sidestep_tui.schema.model_shape import ModelShape
from sidestep_tui.schema.settings import Settings

if TYPE_CHECKING:
    import torch

    from sidestep_tui.engine.trainer import Trainer

Progress = Callable[[str, int, int, str], None]
"""Phase, done, total, what is at hand."""

STEPS = 3
"""Of which the first, which makes the optimizer's state and warms everything up, is not timed."""
_MICRO_BATCHES = 2
"""As many as it takes for gradients to lie beside activations; more of them need no more memory."""


@dataclasses.dataclass(frozen=True, slots=True)
class Measured:
    """What a probe found; bytes and seconds."""

    device: str
    recomputes: bool
    peak: int
    """What the run held at most: reserved by the allocator on a GPU, more resident memory than before on a CPU."""
    peak_allocated: int | None
    """Of that, in tensors; known on CUDA alone."""
    estimated: int
    """The closed form's answer for the same, without the device's context."""
    seconds_per_step: float
    seconds_to_validate: float
    seconds_to_save: float

    @property
    def difference(self) -> float:
        """How far the measured peak lies above the estimate, as a share of it."""
        return self.peak / self.estimated - 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class _LongestSong:
    """The longest example that the settings allow, made of noise."""

    frames: int
    tokens: int
    width: int
    channels: int
    repeats: int
    name: str = "the longest song"
    takes: tuple[_LongestSong, ...] = ()

    def latents(self) -> torch.Tensor:
        return _noise((self.frames, self.channels))

    def condition(self) -> torch.Tensor:
        return _noise((self.tokens, self.width))


def measure(settings: Settings, shape: ModelShape, progress: Progress) -> Measured:
    """Load, train on the longest batch, measure held-out songs and save, as a run of these settings would.

    `shape` is the model's; where `model.path` is empty one of that shape is made up. Raises OutOfMemoryError with the
    rung of the fit ladder that would fit.
    """
    # 5 s and more (torch, diffusers): after the request, so that nonsense is refused at once.
    from sidestep_tui.engine import devices, rungs

    device = devices.choose(settings.memory)
    dtype = devices.precision(settings.memory, device)
    devices.prepare(device)
    free = rungs.free_bytes(device)
    base_bytes = float(dtype.itemsize)

    def needs(asked: Settings) -> int:
        return memory_model.estimate(shape, asked, attention=rungs.stock_attention(device), base_bytes=base_bytes).total

    # A probe that gave way by itself would measure another run.
    asked = fit_ladder.with_values(fit_ladder.settled(settings, needs, free), {"memory.on_oom": "stop"})
    meter = _Meter(device)
    try:
        progress("loading", 0, 0, "")
        trainer = _trainer(asked, shape, device, dtype)
        meter.look()
        seconds = _train(trainer, meter, progress)
        validating = _validate(trainer, meter, progress)
        saving = _save(trainer, meter, progress)
    except (RuntimeError, MemoryError, OutOfMemoryError) as error:
        if not (isinstance(error, OutOfMemoryError) or failures.is_out_of_memory(error)):
            raise
        raise _does_not_fit(error, asked, needs, free) from error
    window = asked.train.accumulation / trainer.settings.train.accumulation
    return Measured(
        device=devices.describe(device, dtype),
        recomputes=asked.memory.recomputes,
        peak=meter.peak(),
        peak_allocated=meter.peak_allocated(),
        estimated=needs(asked) - memory_model.CONTEXT_BYTES,
        seconds_per_step=seconds * window,
        seconds_to_validate=validating,
        seconds_to_save=saving,
    )


class _Meter:
    """The most memory that was held since it was made."""

    def __init__(self, device: torch.device) -> None:
        import psutil
        import torch

        self._torch, self._device = torch, device
        self._process = psutil.Process()
        self._before = self._process.memory_info().rss
        self._most = 0
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def look(self) -> None:
        """Where a device keeps no peak of its own, the most of what was seen has to do."""
        if self._device.type == "mps":
            held = int(self._torch.mps.driver_allocated_memory())
        else:
            held = self._process.memory_info().rss - self._before
        self._most = max(self._most, held)

    def wait(self) -> None:
        """Let the device finish what it was given."""
        if self._device.type == "cuda":
            self._torch.cuda.synchronize(self._device)
        elif self._device.type == "mps":
            self._torch.mps.synchronize()

    def peak(self) -> int:
        """Bytes."""
        self.look()
        if self._device.type == "cuda":
            return int(self._torch.cuda.max_memory_reserved(self._device))
        if self._device.type == "cpu":
            return max(self._most, _peak_resident() - self._before)
        return self._most

    def peak_allocated(self) -> int | None:
        """Bytes in tensors, where that is counted."""
        return int(self._torch.cuda.max_memory_allocated(self._device)) if self._device.type == "cuda" else None


def _peak_resident() -> int:
    """The most resident memory that this process ever had; 0 where the system does not say."""
    try:
        import resource  # there is none on Windows
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _trainer(settings: Settings, shape: ModelShape, device: torch.device, dtype: torch.dtype) -> Trainer:
    """A trainer of the longest batches, on the chosen checkpoint or on a model of that shape."""
    from sidestep_tui.engine import trainer, weights
    from sidestep_tui.engine.batches import FRAMES_PER_SECOND, PATCH, SongStore, crop_frames
    from sidestep_tui.engine.variants import SILENCE_FRAMES

    path = settings.model.path
    base = settings.memory.base
    if path:
        ckpt = weights.find_checkpoint(path, settings.model.variant, settings.model.components)
        transformer = weights.load_transformer(ckpt, dtype, device, base=base)
    else:
        transformer = weights.made_up_transformer(shape, dtype, device, base=base)
    batch = settings.train.batch_size
    micro_batches = min(settings.train.accumulation, _MICRO_BATCHES)
    longest = round(settings.data.max_duration * FRAMES_PER_SECOND) // PATCH * PATCH
    song = _LongestSong(
        frames=crop_frames(settings.data.crop_seconds) or longest,
        tokens=memory_model.CONDITION_TOKENS,
        width=shape.encoder_hidden,
        channels=shape.latent_channels,
        repeats=batch * micro_batches * STEPS,
    )
    material = trainer.Material(
        store=SongStore([song], "ram", 0),
        silence=_noise((1, SILENCE_FRAMES, shape.latent_channels)),
        null_condition=_noise((1, 1, shape.encoder_hidden)),
        timestep_mu=-0.4,
        timestep_sigma=1.0,
        device=device,
        dtype=dtype,
    )
    short = {"train.accumulation": micro_batches, "train.epochs": 1, "train.max_steps": 0, "data.repeats": 1}
    return trainer.build(transformer, material, fit_ladder.with_values(settings, short), seed=0)


def _train(trainer: Trainer, meter: _Meter, progress: Progress) -> float:
    """Seconds of an optimizer step."""
    progress("training", 0, STEPS, "")
    timed = []
    for number in range(STEPS):
        began = time.perf_counter()
        trainer.step()
        meter.wait()
        meter.look()
        seconds = time.perf_counter() - began
        progress("training", number + 1, STEPS, "")
        timed.append(seconds)
    return sum(timed[1:]) / (STEPS - 1)


def _validate(trainer: Trainer, meter: _Meter, progress: Progress) -> float:
    """Seconds to measure one held-out song."""
    from sidestep_tui.engine.validation import Validator

    progress("validating", 0, 0, "")
    material = trainer.material
    mu, sigma = material.timestep_mu, material.timestep_sigma
    validator = Validator(material.store, trainer.settings, seed=0, mu=mu, sigma=sigma)
    began = time.perf_counter()
    validator.measure(trainer, lambda: False)
    meter.look()
    return time.perf_counter() - began


def _save(trainer: Trainer, meter: _Meter, progress: Progress) -> float:
    """Seconds to write a checkpoint, into a directory that is gone afterwards."""
    from sidestep_tui.engine import checkpoint, export

    progress("saving", 0, 0, "")
    about = export.Provenance("probe", "", STEPS, 1, None, "", trainer.settings.model.variant, "")
    with tempfile.TemporaryDirectory(prefix="sidestep-probe-") as scratch:
        run_dir = RunDir.create(Path(scratch), "probe")
        began = time.perf_counter()
        state = trainer.state({})
        checkpoint.save(run_dir, trainer.transformer, trainer.optimizer, state, trainer.settings, about)
        meter.look()
        return time.perf_counter() - began


def _does_not_fit(error: BaseException, settings: Settings, needs: fit_ladder.Needs, free: int) -> OutOfMemoryError:
    """The error of a probe that ran out of memory, with what to change: the first rung below that should fit."""
    tried = needs(settings)
    lower = [rung for rung in fit_ladder.rungs(settings, needs) if rung.needs < tried and rung.fits(free)]
    rung = lower[0] if lower else fit_ladder.shorter_crop(settings, needs, min(free, tried))
    hint = "Choose a smaller model, a lower rank or another device."
    if rung is not None:
        typed = " ".join(f"-s {path}={fields_by_path()[path].write(value)}" for path, value in rung.values.items())
        hint = f"Try {typed}: by the estimate, {text.gibibytes(rung.needs)} instead of {text.gibibytes(tried)}."
    said = error.message if isinstance(error, SidestepError) else str(error).strip().split("\n", 1)[0]
    return OutOfMemoryError("The run does not fit.", said, hint)


def _noise(shape: tuple[int, ...]) -> torch.Tensor:
    import torch

    return torch.randn(shape, generator=torch.Generator().manual_seed(0))
