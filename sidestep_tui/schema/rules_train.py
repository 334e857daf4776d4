"""Advice about the objective and the watchdog."""

from __future__ import annotations

from collections.abc import Iterator

from sidestep_tui.schema.advice import Advice, Facts, Rule, fix_of
from sidestep_tui.schema.settings import Settings


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


RULES: tuple[Rule, ...] = (_averaged_twice, _distribution_inert, _gamma_inert, _delta_inert, _rollback_inert)
