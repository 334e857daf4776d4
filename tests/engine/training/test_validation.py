"""Held-out songs: never trained on, measured the same way every time, and training does not notice."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from sidestep_tui.core.errors import DataError, RunError, SettingsError
from sidestep_tui.dataset.manifest import Song
from sidestep_tui.engine import checkpoint, timesteps, validation
from sidestep_tui.engine.batches import SongStore
from sidestep_tui.engine.control import Orders
from sidestep_tui.engine.loop import TrainingRun
from sidestep_tui.engine.reporter import Reporter
from sidestep_tui.engine.trainer import Trainer
from sidestep_tui.engine.trends import Finding, Plateau
from sidestep_tui.engine.validation import LEVELS, Measurement, Validator
from sidestep_tui.protocol import facts
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.state import RunState
from sidestep_tui.protocol.tail import Tail
from sidestep_tui.schema.run import RunFile, write_run


def never() -> bool:
    return False


@pytest.fixture
def validator(new_song, new_settings) -> Validator:
    store = SongStore([new_song("x", 70, 9), new_song("y", 41, 11)], "ram", 0)
    return Validator(store, new_settings(), seed=3, mu=-0.4, sigma=1.0)


def measured(validator: Validator, trainer: Trainer) -> Measurement:
    result = validator.measure(trainer, never)
    assert result is not None
    return result


def numbers(measurement: Measurement) -> tuple[Any, ...]:
    return measurement.loss, measurement.by_song, measurement.by_level


def test_unchanged_weights_measure_the_same_and_changed_ones_do_not(validator, new_trainer, new_settings):
    trainer = new_trainer(new_settings(adapter={"dropout": 0.5}, train={"condition_dropout": 1.0}))
    before = measured(validator, trainer)
    assert numbers(before) == numbers(measured(validator, trainer))
    trainer.step()
    after = measured(validator, trainer)
    assert after.loss != before.loss
    assert all(after.by_song[name] != loss for name, loss in before.by_song.items())


def test_the_mean_is_over_songs_and_levels(validator, new_trainer):
    result = measured(validator, new_trainer())
    assert set(result.by_song) == {"x", "y"}
    assert len(result.by_level) == LEVELS
    assert result.loss == pytest.approx(math.fsum(result.by_song.values()) / 2)
    assert result.loss == pytest.approx(math.fsum(result.by_level.values()) / LEVELS)
    event = result.event()
    assert (event["songs"], event["loss"], set(event["by_song"])) == (2, result.loss, {"x", "y"})


def test_the_fresh_adapter_measures_what_the_base_model_does(validator, new_trainer):
    trainer = new_trainer()
    fresh = measured(validator, trainer).loss
    with torch.no_grad():
        for parameter in trainer.parameters.values():
            parameter.zero_()
    assert measured(validator, trainer).loss == fresh


def test_training_does_not_notice(validator, new_trainer, new_settings):
    settings = new_settings(adapter={"dropout": 0.3})
    alone, watched = new_trainer(settings), new_trainer(settings)
    for _ in range(3):
        assert alone.step().loss == watched.step().loss
        state = torch.get_rng_state()
        measured(validator, watched)
        assert torch.equal(state, torch.get_rng_state())
        assert watched.transformer.training
        assert all(parameter.grad is None for parameter in watched.parameters.values())
    for name, parameter in alone.parameters.items():
        assert torch.equal(parameter, watched.parameters[name])


def test_a_stop_is_heard_between_songs_and_training_mode_comes_back(validator, new_trainer):
    trainer = new_trainer()
    asked: list[str] = []
    assert validator.measure(trainer, lambda: len(asked) > 0, lambda *where: asked.append(where[2])) is None
    assert asked == ["x"]
    assert trainer.transformer.training


def test_a_loss_that_is_no_number_stays_visible(new_song, new_settings, new_trainer):
    trainer = new_trainer()
    with torch.no_grad():
        next(iter(trainer.parameters.values())).fill_(math.nan)
    store = SongStore([new_song("x", 40, 9)], "ram", 0)
    result = measured(Validator(store, new_settings(), seed=3, mu=-0.4, sigma=1.0), trainer)
    assert math.isnan(result.loss)


@pytest.mark.parametrize("scheme", ["model", "logit_normal", "uniform"])
def test_the_levels_stand_for_what_training_draws(scheme):
    levels = timesteps.quantiles(scheme, 8, mu=-0.4, sigma=1.0)
    drawn = timesteps.sample(scheme, 20_000, torch.Generator().manual_seed(1), mu=-0.4, sigma=1.0)
    shares = [float((drawn < level).float().mean()) for level in levels]
    assert shares == pytest.approx([(index + 0.5) / 8 for index in range(8)], abs=0.02)


def test_held_out_songs_are_measured_at_the_levels_of_the_settings(new_song, new_settings):
    store = SongStore([new_song("x", 40, 9)], "ram", 0)
    settings = new_settings(train={"timestep_sigma": 0.5, "timestep_mu": 1.0})
    levels = Validator(store, settings, seed=3, mu=-0.4, sigma=1.0)._levels
    assert torch.equal(levels, timesteps.quantiles("model", 8, mu=1.0, sigma=0.5))


def test_turbo_levels_are_its_own():
    assert sorted(timesteps.turbo_levels()) == pytest.approx(timesteps.quantiles("turbo8", 3, mu=0, sigma=1).tolist())


class Encoded:
    def __init__(self, name: str, latents: str) -> None:
        self.name, self.latents_path = name, Path(latents)


def test_equal_audio_stays_on_one_side_and_skipped_songs_on_none():
    names = ["alpha", "beta", "gamma", "delta", "lost"]
    songs = [Song(name=name, audio=Path(f"/{name}.wav")) for name in names]
    encoded = [Encoded(name, "same" if name in ("alpha", "delta") else name) for name in names[:-1]]
    parts = validation.part(songs, encoded, 40)
    sides = [[song.name for song in side] for side in (parts.training, parts.held_out)]
    assert sorted(sides[0] + sides[1]) == sorted(names[:-1])
    assert any({"alpha", "delta"} <= set(side) for side in sides)
    assert parts.fingerprint
    none = validation.part(songs, encoded, 0)
    assert (none.held_out, none.fingerprint, none.log) == ([], None, [])
    with pytest.raises(DataError, match="slices or copies"):
        validation.part(songs, [Encoded(name, "same") for name in names], 10)


class Control:
    """Nobody asks for anything."""

    def __getattr__(self, name: str) -> Any:
        return {"poll": Orders, "should_stop": never, "should_abort": never}[name]


def carry_out(run_dir: RunDir) -> tuple[str, TrainingRun]:
    with Reporter(run_dir, "test", sample_seconds=0) as reporter:
        run = TrainingRun(run_dir, reporter, Control())
        return run.carry_out(), run


def events(run_dir: RunDir, kind: str) -> list[dict[str, Any]]:
    return [event for event in Tail(run_dir.events).read(limit_bytes=2**30) if event["type"] == kind]


def test_a_run_measures_at_the_start_every_so_often_and_at_the_end(new_run, monkeypatch):
    heard: set[str] = set()
    collate = validation.Trainer.losses

    def listen(trainer: Trainer, batch: Any) -> Any:
        if torch.is_grad_enabled():
            heard.update(batch.names)
        return collate(trainer, batch)

    monkeypatch.setattr(Trainer, "losses", listen)
    choices = {"epochs": 5, "validate_every": 2, "best_after": 0}
    run_dir, _ = new_run("held", data={"validation": 20}, train=choices)
    assert carry_out(run_dir)[0] == "finished"
    told = events(run_dir, "eval")
    started = events(run_dir, "session_started")[0]
    assert started["steps_per_epoch"] == 2  # four songs are left, two a step
    assert [(event["step"], event["epoch"]) for event in told] == [(0, 0), (4, 2), (8, 4), (10, 5)]
    assert {event["baseline"] for event in told} == {told[0]["loss"]}
    assert len({event["loss"] for event in told}) == 4
    (held,) = told[0]["by_song"]
    assert held not in heard
    assert len(heard) == 4
    assert any(held in event["msg"] for event in events(run_dir, "log"))


def test_other_held_out_songs_are_refused_on_resume(new_run):
    run_dir, settings = new_run("held", data={"validation": 20}, train={"epochs": 2, "max_steps": 1})
    carry_out(run_dir)
    values = settings.model_dump()
    values["data"]["validation"] = values["train"]["max_steps"] = 0
    write_run(run_dir.run_toml, RunFile(name=run_dir.name, settings=type(settings).model_validate(values)))
    with pytest.raises(RunError, match="other songs are held out"):
        carry_out(run_dir)


@pytest.fixture
def scripted(monkeypatch) -> list[float]:
    """What the held-out songs measure, one number each time; the last one stays."""
    losses: list[float] = []

    def measure(self: Validator, trainer: Trainer, should_stop: Any, progress: Any = None) -> Measurement | None:
        if should_stop():
            return None
        return Measurement(losses.pop(0) if len(losses) > 1 else losses[0], {"x": 1.0}, {"0.500": 1.0}, 0.0)

    monkeypatch.setattr(Validator, "measure", measure)
    return losses


def test_best_and_early_stop_follow_the_held_out_songs(new_run, scripted, monkeypatch):
    scripted += [0.9, 0.8, 0.7, 0.75, 0.76, 0.1]
    found = Finding("plateau", "It does not fall.", "Stop.")
    monkeypatch.setattr(Plateau, "add", lambda self, loss: found if loss > 0 and self.history.add(loss) else None)
    run_dir, _ = new_run("held", data={"validation": 20}, train={"epochs": 20, "patience": 2})
    assert carry_out(run_dir)[0] == "early_stop"
    told = Tail(run_dir.events).read_all()
    bests = [(event["epoch"], event["step"], event["loss"], event["by"]) for event in told if event["type"] == "best"]
    assert bests == [(1, 2, 0.8, "held_out"), (2, 4, 0.7, "held_out")]
    assert [event["epoch"] for event in told if event["type"] == "epoch"] == [1, 2, 3, 4]
    kinds = [event["kind"] for event in told if event["type"] == "adapter"]
    assert kinds == ["best", "best", "final"]
    state = RunState.from_events(told)
    assert state.best == facts.Best(4, 2, 0.7, "held_out")
    warned = [(event["msg"], event["hint"]) for event in state.warnings if event["code"] == "plateau"]
    assert warned == [("It does not fall.", "Stop.")] * 4  # once for each time that it is found
    tracking = checkpoint.read(run_dir.checkpoint_path(8))[0].tracking
    assert len(tracking["trends"]["training"]["history"]["means"]) == 4
    assert (tracking["by"], tracking["measured"], len(tracking["trends"]["losses"])) == ("held_out", 8, 8)


def test_a_measurement_that_a_stop_prevented_is_made_up_for(new_run, scripted):
    """A stop that comes at the end of an epoch is saved before the songs are measured; the resumed run knows."""
    scripted += [0.9, 0.8, 0.7, 0.6, 0.5]
    run_dir, _ = new_run("held", data={"validation": 20}, train={"epochs": 4})

    class Stop(Control):
        asked = False

        def poll(self) -> Orders:
            return Orders(stop=Stop.asked)

        def should_stop(self) -> bool:
            # Asked for at the end of the first epoch, when the songs are to be measured.
            Stop.asked = Stop.asked or len(events(run_dir, "epoch")) == 1
            return Stop.asked

    with Reporter(run_dir, "one", sample_seconds=0) as reporter:
        assert TrainingRun(run_dir, reporter, Stop()).carry_out() == "stopped"
    assert [event["epoch"] for event in events(run_dir, "eval")] == [0]
    assert carry_out(run_dir)[0] == "finished"
    assert [(event["epoch"], event["loss"]) for event in events(run_dir, "eval")] == [
        (0, 0.9),
        (1, 0.8),
        (2, 0.7),
        (3, 0.6),
        (4, 0.5),
    ]


def test_held_out_songs_to_follow_must_exist(new_run):
    run_dir, _ = new_run("held", train={"best_by": "held_out"})
    with pytest.raises(SettingsError, match="no held-out songs"):
        carry_out(run_dir)
    assert events(run_dir, "phase") == []  # refused before anything was encoded
