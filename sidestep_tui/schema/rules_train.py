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


RULES: tuple[Rule, ...] = (_gamma_inert,)
