"""One optimizer step after the other, and everything that must survive between two of them."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from sidestep_tui.engine import (
    adapters,
    averages,
    checkpoint,
    distributed,
    failures,
    objective,
    optimizers,
    rungs,
    scaling,
    timesteps,
)
from sidestep_tui.engine.anatomy import Part, StepClock
from sidestep_tui.engine.batches import Collator, Example, MicroBatch, Sampler, SongStore, derive_seed
from sidestep_tui.engine.checkpoint import Loaded, Position, TrainingState, Watch
from sidestep_tui.engine.schedules import Schedule
from sidestep_tui.engine.speed import prefetch, recompute, switches
from sidestep_tui.engine.tracking import Breakdown, Tracker
from sidestep_tui.protocol.rundir import checkpoint_step
from sidestep_tui.schema.settings import Settings

MAX_SKIPPED_IN_A_ROW = 5
"""So many steps without a finite loss send the weights back to a checkpoint, or end the run."""


@dataclass(frozen=True, slots=True)
class Material:
    """What the model is taught with: songs, the constants of the base model, and where to compute."""

    store: SongStore
    silence: torch.Tensor
    null_condition: torch.Tensor
    timestep_mu: float
    timestep_sigma: float
    device: torch.device
    dtype: torch.dtype


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one optimizer step did. `suspects` names the songs of a skipped step."""

    step: int
    epoch: int
    loss: float
    lr: float
    """What the optimizer used: with Prodigy, the rate that it found times that of the schedule."""
    grad_norm: float
    examples: int
    seconds: float
    parts: Mapping[Part, float]
    """Seconds of its parts; on CUDA the update is told one step late."""
    suspects: tuple[str, ...] = ()
    overflowed: bool = False
    """Whether the weights were left alone because float16 had no room for the scaled gradients: no alarm."""
    shortages: tuple[rungs.Shortage, ...] = ()
    """How often memory ran out before it succeeded."""

    @property
    def skipped(self) -> bool:
        """Whether the weights were left alone because loss or gradients were not finite."""
        return bool(self.suspects)


@dataclass(frozen=True, slots=True)
class EpochResult:
    """A finished epoch; the loss is the mean over its examples, NaN if none was finite."""

    epoch: int
    step: int
    loss: float
    breakdown: Breakdown = field(default_factory=Breakdown)


class Trainer:
    """An adapter in training. Deterministic: the same settings, songs and seed give the same weights on the CPU."""

    def __init__(self, transformer: torch.nn.Module, material: Material, settings: Settings, *, seed: int) -> None:
        # Here and not in every step: it visits thousands of modules (18 ms at 32 layers on a slow core).
        self.transformer = transformer.train()
        self.material = material
        self.settings = settings
        self.seed = seed
        self.parameters = adapters.trainable(transformer)
        self.optimizer = optimizers.build(settings.optim, self.parameters, material.device)
        self.tracker = Tracker(settings.train.best_after, settings.train.patience)
        self.position = Position()
        self.skipped_in_a_row = 0
        self.scale = scaling.first(material.dtype)
        self.watch = Watch()
        self.relief = rungs.start(settings)
        self.computed_by = ""
        """Which of the faster ways are on, in words."""
        self.loaded = Loaded()
        self._warmed_up_in: int | None = None
        self._loss_sum = 0.0
        self._loss_count = 0
        self._silence = material.silence.to(material.device)
        self._null_condition = material.null_condition.to(material.device)
        self._sampler = Sampler(material.store, settings.data, settings.train, seed=seed, processes=distributed.size())
        names = material.store.names()
        self._titles = {place: names[song] for song, places in enumerate(material.store.takes) for place in places}
        """By place in the store, the song that it is or that it was made from."""
        mu, sigma = timesteps.distribution(settings.train, mu=material.timestep_mu, sigma=material.timestep_sigma)
        self._collator = Collator(material.store, settings.train, seed=seed, mu=mu, sigma=sigma)
        ahead = prefetch.is_wanted(settings.speed.prefetch, material.device)
        self._feed = prefetch.Feed(self._collator, material.device, ahead=ahead)
        self._clock = StepClock(material.device)
        self._plan()

    def _plan(self) -> None:
        """Lay out the run from here to its end: the schedule is a function of the step and this horizon alone."""
        train = self.settings.train
        steps = self.position.step + self._sampler.steps_left(self.position.epoch, self.position.offset, train.epochs)
        self.total_steps = min(steps, train.max_steps) if train.max_steps else steps
        self.schedule = Schedule.of(self.settings.optim, self.total_steps, warmed_up_in=self._warmed_up_in)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of an epoch."""
        return self._sampler.steps_per_epoch

    @property
    def examples_per_step(self) -> int:
        """What a step takes of an epoch, over all processes."""
        return self._sampler.window

    @property
    def next_lr(self) -> float:
        """Learning rate of the next step: the schedule's, lowered as often as the weights went back."""
        return self.schedule.lr(self.position.step) * self.watch.lr_scale

    @property
    def is_done(self) -> bool:
        """Whether all steps are done."""
        return self.position.step >= self.total_steps

    @property
    def is_out_of_patience(self) -> bool:
        """Whether an epoch just ended and there has been no new best for too long."""
        return self.position.offset == 0 and self.tracker.out_of_patience(self.position.epoch)

    def step(self) -> StepResult:
        """Teach the examples of the next optimizer step; a step that is not finite changes no weight."""
        began = time.perf_counter()
        examples = self._sampler.examples(self.position.epoch, self.position.offset)
        lr = self.next_lr
        optimizers.set_lr(self.optimizer, lr)
        (losses, levels), shortages = self._learn(examples)
        distributed.sum_gradients(self.parameters.values())
        with self._clock.part("optimizer"):
            scaling.down(self.parameters.values(), self.scale)
            grad_norm = self._clip()
        by_rank = self._sampler.computed(examples)
        counts, found = [len(share) for share in by_rank], optimizers.found_rate(self.optimizer)
        values, drawn, norm, rate = distributed.collect(losses, levels, grad_norm, counts, found)
        computed = [example for share in by_rank for example in share]
        finite = math.isfinite(norm) and all(math.isfinite(value) for value in values)
        if finite:
            with self._clock.part("optimizer"):
                self.optimizer.step()
                averages.update(self.optimizer, self.settings.train.ema_decay)
            for example, level, value in zip(computed, drawn, values, strict=True):
                self.tracker.table.add(self._titles[example.song], level, value)
        self.optimizer.zero_grad(set_to_none=True)
        overflowed = scaling.overflowed(self.scale, values, norm)
        self.scale = self.scale.after(overflowed=overflowed) if self.scale else None
        self._advance(examples, values if finite or overflowed else [])
        seconds = time.perf_counter() - began
        suspects = () if finite or overflowed else _suspects(computed, values)
        return StepResult(
            step=self.position.step,
            epoch=examples[0].epoch + 1,
            loss=math.fsum(values) / len(values),
            lr=lr * rate,
            grad_norm=norm,
            examples=len(examples),
            seconds=seconds,
            parts=self._clock.take(),
            suspects=suspects,
            overflowed=overflowed,
            shortages=shortages,
        )

    def _learn(self, examples: list[Example]) -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[rungs.Shortage, ...]]:
        """`_accumulate`, repeated one rung lower as long as memory runs out; OutOfMemoryError if no rung is left."""
        shortages: list[rungs.Shortage] = []
        while True:
            # Adapter dropout draws from the global generators: seeding them makes every step repeatable by itself.
            torch.manual_seed(derive_seed(self.seed, "dropout", self.position.step, *distributed.place()))
            try:
                return self._accumulate(examples), tuple(shortages)
            except (RuntimeError, MemoryError) as error:
                if not failures.is_out_of_memory(error):
                    raise
                shortages.append(self._give_way(examples, error))
            # Not in the handler, where the error still holds on to what the step had computed.
            rungs.make_room(self.optimizer, self.material.device)

    def _give_way(self, examples: list[Example], error: BaseException) -> rungs.Shortage:
        """Go one rung lower, if that is allowed and there is one."""
        largest = max(map(len, self._groups(examples)))
        lowered = rungs.lower(self.relief, largest, recomputes=rungs.recomputes(self.transformer))
        if lowered is None or self.settings.memory.on_oom == "stop":
            raise rungs.exhausted(error, self.material.device) from error
        self.relief = lowered
        rungs.apply(lowered, self.transformer)
        return rungs.shortage(error, lowered, self.material.device)

    def _groups(self, examples: list[Example]) -> list[list[Example]]:
        """What this process computes of a step, by what goes through the model together."""
        share = self._sampler.share(examples, distributed.rank())
        return list(rungs.split(self._sampler.micro_batches(share), self.relief.micro_batch))

    def _accumulate(self, examples: list[Example]) -> tuple[torch.Tensor, torch.Tensor]:
        """Add up this process's share of the gradient of the mean loss over `examples`.

        Returns losses [N] and noise levels [N] of that share on the device.
        """
        losses = [torch.zeros(0, device=self.material.device)]
        levels = [torch.zeros(0, device=self.material.device)]
        for batch, waited in self._feed.batches(self._groups(examples), lambda: self._following(examples)):
            self._clock.add("data", waited)
            with self._clock.part("forward"):
                batch_losses = self.losses(batch)
                loss = scaling.up(batch_losses.sum() / len(examples), self.scale)
            with self._clock.part("backward"):
                loss.backward()
            losses.append(batch_losses.detach())
            levels.append(batch.t)
        return torch.cat(losses), torch.cat(levels)

    def _following(self, examples: list[Example]) -> list[Example]:
        """The first group of the step after the one of `examples`."""
        epoch, offset = self.position.epoch, self.position.offset + len(examples)
        following = self._sampler.examples(epoch, offset) or self._sampler.examples(epoch + 1, 0)
        return next(iter(self._groups(following)), [])

    def losses(self, batch: MicroBatch) -> torch.Tensor:
        """The objective: each example's weighted loss [B]."""
        train = self.settings.train
        x_t = objective.interpolate(batch.x0, batch.noise, batch.t)
        condition = objective.drop_conditions(batch.condition, self._null_condition, batch.dropped)
        context = objective.context_latents(self._silence, *batch.x0.shape[:2])
        dtype = self.material.dtype
        predicted = objective.predict(self.transformer, x_t, batch.t, condition, context, dtype=dtype)
        target = objective.velocity(batch.x0, batch.noise)
        losses = objective.example_losses(predicted, target, train.loss, train.huber_delta)
        return losses * objective.loss_weights(batch.t, train.loss_weighting, train.snr_gamma)

    def _clip(self) -> torch.Tensor:
        """The gradient's norm before it is shortened to `max_grad_norm` (0: not at all)."""
        limit = self.settings.optim.max_grad_norm or math.inf
        return torch.nn.utils.clip_grad_norm_(self.parameters.values(), limit)

    def _advance(self, examples: list[Example], values: list[float]) -> None:
        """Move past `examples`; empty `values` say that the step was skipped."""
        self._loss_sum += math.fsum(values)
        self._loss_count += len(values)
        self.skipped_in_a_row = 0 if values else self.skipped_in_a_row + 1
        if not values:
            self.watch = replace(self.watch, skipped=self.watch.skipped + 1)
        step, epoch, offset = self.position.step + 1, self.position.epoch, self.position.offset + len(examples)
        self.position = Position(step, epoch, offset)

    @property
    def at_end_of_epoch(self) -> bool:
        """Whether the last step finished an epoch that `end_epoch` has not closed yet."""
        return self.position.offset >= self._sampler.examples_per_epoch

    def end_epoch(self) -> EpochResult:
        """Close a finished epoch and move to the next one."""
        loss = self._loss_sum / self._loss_count if self._loss_count else math.nan
        breakdown = self.tracker.table.end_epoch()
        result = EpochResult(self.position.epoch + 1, self.position.step, loss, breakdown)
        self.position = Position(self.position.step, self.position.epoch + 1, 0)
        self._loss_sum, self._loss_count = 0.0, 0
        return result

    def state(self, fingerprint: dict[str, object]) -> TrainingState:
        """Everything that a resumed run needs besides weights and optimizer."""
        return TrainingState(
            position=self.position,
            seed=self.seed,
            total_steps=self.total_steps,
            loss_sum=self._loss_sum,
            loss_count=self._loss_count,
            skipped_in_a_row=self.skipped_in_a_row,
            watchdog=self.watch,
            relief=self.relief,
            tracking=self.tracker.state(),
            loss_scale=self.scale,
            processes=distributed.size(),
            fingerprint=dict(fingerprint),
            warmup_steps=self.schedule.warmup_steps,
            next_lr=self.next_lr,
            score=self.tracker.score,
        )

    def restore(self, directory: Path, state: TrainingState, optimizer_numbers: dict[str, object]) -> int:
        """Continue from a checkpoint; returns the number of adapter tensors loaded."""
        count = self._load(directory, optimizer_numbers)
        self.position = state.position
        self.skipped_in_a_row = state.skipped_in_a_row
        self.watch = state.watchdog
        self.scale = (state.loss_scale or self.scale) if self.scale else None
        if self.watch.lr != self.settings.optim.lr:
            self.watch = Watch(skipped=self.watch.skipped)
        self.relief = rungs.resumed(state.relief, self.settings)
        rungs.apply(self.relief, self.transformer)
        self._loss_sum, self._loss_count = state.loss_sum, state.loss_count
        self.tracker.restore(state.tracking)
        if state.warmup_steps is not None and self.position.step >= state.warmup_steps:
            self._warmed_up_in = state.warmup_steps
        self._plan()
        return count

    def go_back(self, directory: Path, optimizer_numbers: dict[str, object]) -> None:
        """Take weights and optimizer from a checkpoint and go on from here with a lower learning rate."""
        self.optimizer.zero_grad(set_to_none=True)
        self._load(directory, optimizer_numbers)
        self.skipped_in_a_row = 0
        way = (self.position.step, checkpoint_step(directory) or 0)
        self.watch = replace(
            self.watch,
            lr=self.settings.optim.lr,
            lr_scale=self.watch.lr_scale * self.settings.train.rollback_lr,
            returns=(*self.watch.returns, way),
        )

    def _load(self, directory: Path, optimizer_numbers: dict[str, object]) -> int:
        self.loaded = checkpoint.restore(directory, self.transformer, self.optimizer, dict(optimizer_numbers))
        if self.settings.train.ema_decay == 0:
            averages.drop(self.optimizer)
        return self.loaded.adapter


def build(transformer: torch.nn.Module, material: Material, settings: Settings, *, seed: int) -> Trainer:
    """A trainer with a fresh adapter in `transformer`; the same seed gives the same initial weights."""
    torch.manual_seed(derive_seed(seed, "adapter"))
    adapters.inject(transformer, settings.adapter, autocast=material.dtype != torch.float32)
    transformer.to(material.device)
    if settings.memory.gradient_checkpointing == "on":
        recompute.enable(transformer)
    trainer = Trainer(transformer, material, settings, seed=seed)
    passes = trainer.total_steps * settings.train.accumulation
    trainer.computed_by = switches.apply(transformer, settings, material.device, material.dtype, passes=passes)
    return trainer


def _suspects(examples: list[Example], values: list[float]) -> tuple[str, ...]:
    """Songs whose loss is not finite; all of the step if it only shows in the gradients."""
    bad = [example.name for example, value in zip(examples, values, strict=True) if not math.isfinite(value)]
    return tuple(dict.fromkeys(bad or [example.name for example in examples]))
