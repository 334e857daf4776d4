"""Advice about the objective, the watchdog, and what is called the best."""

from __future__ import annotations

from collections.abc import Iterator

from sidestep_tui.core import text
from sidestep_tui.schema.advice import Advice, Facts, Rule, fix_of
from sidestep_tui.schema.settings import Settings

_MEAN_OF = 5
"""Epochs in the moving average that the engine follows (engine.tracking.WINDOW)."""


def _gamma_inert(settings: Settings, facts: Facts) -> Iterator[Advice]:
    from_default = type(settings.train).model_fields["snr_gamma"].default
    if settings.train.loss_weighting == "none" and settings.train.snr_gamma != from_default:
        yield Advice(
            "advice",
            "train.snr_gamma",
            "The min-SNR gamma has no effect while the loss weighting is none.",
            **fix_of("Weigh by min-SNR", train__loss_weighting="min_snr"),
        )


def _delta_inert(settings: Settings, facts: Facts) -> Iterator[Advice]:
    from_default = type(settings.train).model_fields["huber_delta"].default
    if settings.train.loss != "huber" and settings.train.huber_delta != from_default:
        yield Advice(
            "advice",
            "train.huber_delta",
            "The Huber delta has no effect while the loss is mse.",
            **fix_of("Use the Huber loss", train__loss="huber"),
        )


def _distribution_inert(settings: Settings, facts: Facts) -> Iterator[Advice]:
    train = settings.train
    if train.timestep_sigma > 0 and train.timesteps in ("uniform", "turbo8"):
        yield Advice(
            "advice",
            "train.timestep_sigma",
            f"Noise spread and centre have no effect on {train.timesteps} noise levels.",
            **fix_of("Draw as the model was trained", train__timesteps="model"),
        )
    if train.timestep_sigma == 0 and train.timestep_mu != type(train).model_fields["timestep_mu"].default:
        yield Advice(
            "warning",
            "train.timestep_mu",
            "The noise centre has no effect without a noise spread: both are the model's own.",
            **fix_of("Set the spread to 1", train__timestep_sigma=1.0),
        )


def _rollback_inert(settings: Settings, facts: Facts) -> Iterator[Advice]:
    train = settings.train
    if train.rollbacks == 0 and train.rollback_lr != type(train).model_fields["rollback_lr"].default:
        yield Advice(
            "advice",
            "train.rollback_lr",
            "The learning rate after a rollback has no effect: the run never goes back.",
            **fix_of("Go back up to 2 times", train__rollbacks=2),
        )


def _averaged_twice(settings: Settings, facts: Facts) -> Iterator[Advice]:
    if settings.train.ema_decay > 0 and settings.optim.optimizer == "schedule_free":
        yield Advice(
            "error",
            "train.ema_decay",
            "Schedule-free AdamW keeps an average of its own; a second one beside it is not exported.",
            **fix_of("Turn EMA off", train__ema_decay=0.0),
        )


def _follows_held_out(settings: Settings) -> bool:
    return settings.train.best_by != "training" and settings.data.validation > 0


def _nobody_to_follow(settings: Settings, facts: Facts) -> Iterator[Advice]:
    if settings.train.best_by == "held_out" and settings.data.validation == 0:
        yield Advice(
            "error",
            "train.best_by",
            "The best adapter is to be judged by held-out songs, and no song is held out.",
            **fix_of("Hold out 10 %", data__validation=10),
        )


def _stops_between_measurements(settings: Settings, facts: Facts) -> Iterator[Advice]:
    train = settings.train
    if _follows_held_out(settings) and 0 < train.patience < train.validate_every:
        yield Advice(
            "error",
            "train.patience",
            f"Patience would end after {text.plural(train.patience, 'epoch')}, before the held-out songs are measured "
            f"a second time: that is every {text.plural(train.validate_every, 'epoch')}.",
            **fix_of("Measure every epoch", train__validate_every=1),
        )


def _measured_too_late(settings: Settings, facts: Facts) -> Iterator[Advice]:
    train = settings.train
    every, after = train.validate_every, max(train.best_after, 1)
    if not _follows_held_out(settings) or every == 1 or after >= train.epochs:
        return
    if -(-after // every) * every >= train.epochs:
        yield Advice(
            "warning",
            "train.validate_every",
            f"From epoch {after} on, the held-out songs are measured only at the end: the final adapter would always "
            "be the best one.",
            **fix_of("Measure every epoch", train__validate_every=1),
        )


def _limited_before_best(settings: Settings, facts: Facts) -> Iterator[Advice]:
    train = settings.train
    if not (train.max_steps and facts.steps_per_epoch) or train.best_after >= train.epochs:
        return
    epochs = train.max_steps // facts.steps_per_epoch
    if train.best_after > epochs >= 2:
        yield Advice(
            "warning",
            "train.best_after",
            f"The best adapter is looked for from epoch {train.best_after}, but the step limit ends the run after "
            f"{epochs} epochs: there would never be one.",
            **fix_of(f"Look from epoch {epochs // 2}", train__best_after=epochs // 2),
        )


def _too_short_for_a_mean(settings: Settings, facts: Facts) -> Iterator[Advice]:
    epochs = settings.train.epochs
    if epochs < _MEAN_OF and not _follows_held_out(settings):
        yield Advice(
            "advice",
            "train.best_by",
            f"The best adapter is found by the mean loss of {_MEAN_OF} epochs, and the run has "
            f"{text.plural(epochs, 'epoch')}: there will only be a final one.",
        )


RULES: tuple[Rule, ...] = (
    _averaged_twice,
    _nobody_to_follow,
    _stops_between_measurements,
    _measured_too_late,
    _limited_before_best,
    _too_short_for_a_mean,
    _distribution_inert,
    _gamma_inert,
    _delta_inert,
    _rollback_inert,
)
