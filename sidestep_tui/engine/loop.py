"""A training run from run.toml to a verified adapter, top to bottom."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import psutil

from sidestep_tui.core import text
from sidestep_tui.core.errors import RunError
from sidestep_tui.dataset import manifest as songs_on_disk
from sidestep_tui.dataset import split
from sidestep_tui.engine import (
    adapters,
    averages,
    beginning,
    checkpoint,
    devices,
    distributed,
    encode,
    export,
    finishing,
    optimizers,
    resumption,
    rungs,
    saving,
    tracking,
    validation,
    watchdog,
    weights,
)
from sidestep_tui.engine import trainer as training
from sidestep_tui.engine.batches import SongStore
from sidestep_tui.engine.cache import EncodedDataset
from sidestep_tui.engine.control import Control
from sidestep_tui.engine.effect import Meter
from sidestep_tui.engine.failures import StopRequested
from sidestep_tui.engine.reporter import Reporter
from sidestep_tui.engine.saving import Saver
from sidestep_tui.engine.trainer import Material, StepResult, Trainer
from sidestep_tui.engine.validation import Validator
from sidestep_tui.engine.writer import Writer
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.schema import memory_model
from sidestep_tui.schema.model_shape import model_shape
from sidestep_tui.schema.run import read_run


class TrainingRun:
    """One session of a run. `carry_out` says how it ended; SidestepErrors say why it could not."""

    def __init__(self, run_dir: RunDir, reporter: Reporter, control: Control) -> None:
        self.run_dir = run_dir
        self.reporter = reporter
        self.control = control
        self.step = 0
        self.run_file = read_run(run_dir.run_toml)
        self.settings = self.run_file.settings
        self.writer = Writer(background=self.settings.output.async_saving)

    def carry_out(self) -> str:
        """Train to the end and export, or until told to leave; returns the reason of the end."""
        try:
            self._prepare()
            dataset = self._encode()
            self._build(dataset)
            reason = self._train()
            self._finish()
        except StopRequested as request:
            return "stopped" if request.saves else "aborted"
        finally:
            saving.close(self.writer, self.reporter)
        return reason

    # Before training.

    def _prepare(self) -> None:
        """Find everything that is needed and say how the session begins; nothing large is loaded yet."""
        settings = self.settings
        self.device = devices.choose(settings.memory)
        self.dtype = devices.precision(settings.memory, self.device)
        devices.prepare(self.device)
        self.base = weights.find_checkpoint(settings.model.path, settings.model.variant, settings.model.components)
        data = settings.data
        scan = partial(songs_on_disk.scan, data.path, data.txt_role, data.language, may_be_tensors=True)
        self.songs = distributed.from_first(scan)
        distributed.from_first(lambda: saving.recover(self.run_dir))
        self.saved = distributed.from_first(lambda: resumption.newest(self.run_dir))
        self.step = self.saved.state.position.step if self.saved else 0
        self._refuse_early()
        self.seed = distributed.from_first(self._choose_seed)
        steps_per_epoch, total_steps = self._expected_steps()
        self.reporter.started(
            total_steps=total_steps,
            epochs=settings.train.epochs,
            steps_per_epoch=steps_per_epoch,
            device=devices.describe(self.device, self.dtype),
            resumed_from=self.step if self.saved else None,
            adapter_parameters=memory_model.adapter_parameters(model_shape(self.base.config), settings),
        )
        self.reporter.phase("loading")
        if devices.is_slow(self.device, self.dtype):
            self.reporter.warning(
                "slow_precision",
                "This device only imitates this precision, many times slower than what it has.",
                "Set memory.precision to auto unless memory is short.",
            )
        if settings.train.seed < 0:
            self.reporter.log(f"Seed {self.seed} was drawn.")
        for skipped in self.songs.skipped:
            self.reporter.warning("song_skipped", skipped.sentence)
        for sentence in self.songs.warnings:
            self.reporter.warning("dataset", sentence)

    def _refuse_early(self) -> None:
        """Everything that can be refused before the songs are encoded."""
        adapters.refuse_empty(self.settings.adapter)
        optimizers.refuse_missing(self.settings.optim)
        tracking.followed(self.settings.train.best_by, held_out=self.settings.data.validation > 0)
        self.beginning = None if self.saved else beginning.read(self.settings.adapter, self.base.layers)
        if self.saved:
            state = self.saved.state
            dataset = state.fingerprint.get("dataset", "")  # known after encoding, as is what is held out
            held_out = state.fingerprint.get("held-out songs")
            current = checkpoint.fingerprint(
                self.settings, model=self.base.fingerprint, dataset=dataset, held_out=held_out
            )
            checkpoint.refuse_other(state.fingerprint, current, self.saved.directory)

    def _choose_seed(self) -> int:
        """The seed of the settings; for -1, the one that was drawn before, or a new one."""
        if self.settings.train.seed >= 0:
            return self.settings.train.seed
        return self.saved.state.seed if self.saved else secrets.randbelow(2**31)

    def _expected_steps(self) -> tuple[int, int]:
        """Steps of an epoch and of the run, should no song be skipped while encoding."""
        train = self.settings.train
        trained = set(split.split(self.songs.songs, self.settings.data.validation).training)
        examples = sum(song.repeats for song in self.songs.songs if song.name in trained) * self.settings.data.repeats
        steps_per_epoch = -(-examples // (train.batch_size * train.accumulation * distributed.size()))
        total = steps_per_epoch * train.epochs
        return steps_per_epoch, min(total, train.max_steps) if train.max_steps else total

    def _encode(self) -> EncodedDataset:
        """Songs to latents and conditions, through the cache; one model in memory at a time."""
        job = partial(
            encode.encode_dataset,
            self.songs,
            self.base,
            self.settings,
            self.device,
            devices.for_encoding(self.dtype),
            progress=self.reporter.phase,
            should_stop=self.control.should_stop,
            warn=self.reporter.warning,
        )
        dataset = distributed.from_first(job)
        self._leave_if_asked()
        for name, reason in dataset.skipped:
            self.reporter.warning("song_skipped", f"The song '{name}' is left out: {reason}")
        return dataset

    def _build(self, dataset: EncodedDataset) -> None:
        """The decoder with its adapter, fresh or from the newest checkpoint."""
        self.reporter.phase("loading", detail="the transformer")
        parts = validation.part(self.songs.songs, dataset.songs, self.settings.data.validation)
        store = SongStore(parts.training, self.settings.memory.preload, psutil.virtual_memory().available)
        material = Material(
            store=store,
            silence=dataset.silence,
            null_condition=dataset.null_condition,
            timestep_mu=self.base.timestep_mu,
            timestep_sigma=self.base.timestep_sigma,
            device=self.device,
            dtype=self.dtype,
        )
        self.validator = Validator.of(parts, self.base, self.settings, seed=self.seed)
        self.meter = Meter.of(parts.training, parts.held_out, dataset.silence, self.device, self.dtype)
        for sentence in parts.log:
            self.reporter.log(sentence)
        self.settings, how = rungs.settle(self.settings, self.base.config, self.device, self.dtype)
        self.reporter.log(how)
        transformer = weights.load_transformer(self.base, self.dtype, self.device, base=self.settings.memory.base)
        self.fingerprint = checkpoint.fingerprint(
            self.settings,
            model=self.base.fingerprint,
            dataset=dataset.fingerprint,
            held_out=parts.fingerprint,
        )
        self.trainer = training.build(transformer, material, self.settings, seed=self.seed)
        self.trainer.tracker.follow(self.settings.train.best_by, held_out=self.validator is not None)
        run_dir, run_file, reporter = self.run_dir, self.run_file, self.reporter
        self.saver = Saver(
            run_dir, run_file, self.base, self.trainer, self.fingerprint, reporter, self.control, self.writer
        )
        where = "RAM" if store.in_ram else "files"
        self.reporter.log(
            f"{text.plural(len(store.repeats), 'song')} in {where}; training "
            f"{text.count(sum(p.numel() for p in self.trainer.parameters.values()))} adapter weights "
            f"in {text.plural(len(adapters.adapted_layers(transformer)), 'matrix', 'matrices')}, "
            f"{adapters.strength(transformer)}. {self.trainer.computed_by}"
        )
        if self.beginning:
            count = beginning.put(transformer, self.beginning)
            self.reporter.log(f"Started from {self.beginning.sentence}: {count} of {count} tensors.")
            for note in self.beginning.facts.notes:
                self.reporter.log(note)
        if self.saved:
            resumption.resume(self.trainer, self.saved, self.fingerprint, self.reporter)
        distributed.align([*self.trainer.parameters.values(), *adapters.settled(transformer)])
        if self.trainer.schedule.warmup_steps < self.settings.optim.warmup_steps:
            self.reporter.warning(
                "warmup_shortened",
                f"Warm-up takes {self.trainer.schedule.warmup_steps} steps instead of "
                f"{self.settings.optim.warmup_steps}: the run has only {self.trainer.total_steps}.",
            )
        self._leave_if_asked()

    # Training.

    def _train(self) -> str:
        """All remaining steps; returns `finished` or `early_stop`."""
        trainer = self.trainer
        if self._is_measurement_due:
            self._validate(lambda done, total, name: self.reporter.phase("validating", done, total, name))
        self.epoch_began = time.monotonic()
        self.reporter.phase("training", trainer.position.step, trainer.total_steps)
        reason = self._train_on(trainer)
        if trainer.tracker.measured != self.step:
            self._validate()
        return reason

    def _train_on(self, trainer: Trainer) -> str:
        """Step after step, until all are done or waiting for a better one has taken too long."""
        while not trainer.is_done:
            if trainer.is_out_of_patience:
                self.reporter.log(f"No new best in {text.plural(self.settings.train.patience, 'epoch')}: stopping.")
                return "early_stop"
            self._obey()
            result = trainer.step()
            self.step = result.step
            self._report(result)
            if trainer.at_end_of_epoch:
                self._end_epoch()
            self.saver.save_if_due()
        return "finished"

    def _obey(self) -> None:
        """A safe point: save, hold or leave as asked."""
        orders = distributed.from_first(self.control.poll)
        while True:
            if orders.leave:
                if not orders.abort:
                    self.reporter.phase("saving")
                    self.saver.save("stop")
                raise StopRequested(saves=not orders.abort)
            if orders.checkpoint:
                self.saver.save("requested", orders.checkpoint)
            if not orders.paused:
                return
            self.saver.wait()
            orders = distributed.from_first(lambda: self.control.wait_while_paused(self.step))

    def _leave_if_asked(self) -> None:
        """Leave before training began; there is nothing new to save."""
        if distributed.from_first(self.control.should_stop):
            raise StopRequested(saves=not self.control.should_abort())

    def _report(self, result: StepResult) -> None:
        """Tell the journal about a step; one without a finite loss goes to the watchdog."""
        self.reporter.step(
            step=result.step,
            epoch=result.epoch,
            loss=result.loss,
            lr=result.lr,
            grad_norm=result.grad_norm,
            samples_per_s=result.examples / max(result.seconds, 1e-9),
            seconds=result.seconds,
            **{f"{part}_s": seconds for part, seconds in result.parts.items()},
        )
        self.trainer.tracker.add_step(result.step, result.loss, result.grad_norm, skipped=result.skipped)
        self._warn()
        if result.overflowed:
            self.reporter.log(f"Step {result.step} had no room in float16: left out, and the loss scale halved.")
        rungs.report(self.reporter, result.shortages)
        if not result.skipped:
            return
        self.saver.wait()
        verdict = watchdog.judge(self.trainer, self.run_dir, result)
        self.reporter.warning(verdict.code, verdict.message, verdict.hint)

    def _end_epoch(self) -> None:
        """Close the epoch and keep a new best."""
        trainer = self.trainer
        result = trainer.end_epoch()
        is_best = trainer.tracker.add_epoch(result.epoch, result.step, result.loss)
        self.reporter.epoch(
            epoch=result.epoch,
            step=result.step,
            loss=result.loss,
            smoothed_loss=trainer.tracker.smoothed,
            seconds=time.monotonic() - self.epoch_began,
            **result.breakdown.event(),
        )
        self._warn()
        if is_best:
            self._keep_best()
        if self._is_measurement_due:
            self._validate()
        self.epoch_began = time.monotonic()

    def _keep_best(self) -> None:
        tracker = self.trainer.tracker
        if best := tracker.best:
            self.reporter.best(step=best.step, epoch=best.epoch, loss=best.loss, by=tracker.by)
            self.saver.publish_best(best.loss)

    def _warn(self) -> None:
        for finding in self.trainer.tracker.take_findings():
            self.reporter.warning(finding.code, finding.message, finding.hint)

    @property
    def _is_measurement_due(self) -> bool:
        """Whether an epoch has ended whose measurement is missing; a stop may have come before it."""
        position = self.trainer.position
        is_due = position.offset == 0 and position.epoch % self.settings.train.validate_every == 0
        return is_due and self.trainer.tracker.measured != position.step

    def _validate(self, progress: Callable[[int, int, str], None] | None = None) -> None:
        """Measure the held-out songs, if there are any; the first time says what the base model makes of them."""
        if self.validator is None:
            return
        with averages.published(self.trainer.optimizer):
            measure = partial(self.validator.measure, self.trainer, self.control.should_stop, progress)
            measured = distributed.from_first(measure)
        if measured is None:
            return
        tracker, epoch = self.trainer.tracker, self.trainer.position.epoch
        is_best = tracker.add_held_out(epoch, self.step, measured.loss)
        self.reporter.eval(step=self.step, epoch=epoch, baseline=tracker.baseline, **measured.event())
        self._warn()
        if is_best:
            self._keep_best()

    # After training.

    def _finish(self) -> None:
        """Save, export, and prove that the export answers like the model that was trained."""
        if self.step == 0:
            raise RunError("Nothing was trained.", "The run has no steps.", "Check train.epochs and the dataset.")
        self.reporter.phase("saving")
        self.saver.save("final")
        self.reporter.phase("exporting")
        count = self.saver.publish_final()
        self.reporter.phase("verifying")
        effect = self._verify() if distributed.is_first() else None
        self.reporter.adapter(path=self.run_dir.adapter / "final", kind="final", tensors=count, effect=effect)

    def _verify(self) -> dict[str, Any]:
        """Prove the export on a fresh transformer; the trained one makes room for it first. Returns its effect."""
        with averages.published(self.trainer.optimizer):
            expected = export.probe(self.trainer.transformer, dtype=self.dtype)
        del self.trainer, self.saver
        devices.release(self.device)
        where = (self.run_dir, self.base, expected, self.meter, self.reporter)
        return finishing.prove(*where, device=self.device, dtype=self.dtype, settings=self.settings)
