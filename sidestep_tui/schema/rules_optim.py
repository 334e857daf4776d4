"""Advice about optimizers and schedules: what each needs, and what has no effect on it."""

from __future__ import annotations

from collections.abc import Iterator

from sidestep_tui.schema.advice import Advice, Facts, Rule, fix_of
from sidestep_tui.schema.fields import format_number
from sidestep_tui.schema.settings import Settings

_NAMES = {
    "adafactor": "Adafactor",
    "prodigy": "Prodigy",
    "schedule_free": "Schedule-free AdamW",
    "lion": "Lion",
    "muon": "Muon",
}
_INERT = {"adafactor": ("beta1", "beta2", "eps"), "muon": ("beta1", "beta2", "eps"), "lion": ("eps",)}
_LABELS = {"beta1": "Beta 1", "beta2": "Beta 2", "eps": "Epsilon"}
_LION_BETA2 = 0.99
_LION_HIGHEST_LR = 5e-5
_WITH_B_MATRICES = ("lora", "dora")
_BEYOND_MATRICES = {
    "dora": "DoRA learns a vector of magnitudes for each layer",
    "oft": "OFT learns angles of rotation, which are no matrix to it",
}


def _no_schedule_beside(settings: Settings, facts: Facts) -> Iterator[Advice]:
    optim = settings.optim
    if optim.optimizer not in ("prodigy", "schedule_free") or optim.schedule == "constant":
        return
    reason = (
        "Prodigy finds the learning rate itself and takes a falling one for its own estimate"
        if optim.optimizer == "prodigy"
        else "Schedule-free AdamW averages its weights instead of following a schedule"
    )
    # One step takes all of Prodigy's rules: a rate of 1e-4 of what it finds would learn nothing.
    rate = {"optim__lr": 1.0} if optim.optimizer == "prodigy" else {}
    yield Advice(
        "error",
        "optim.schedule",
        f"{reason}: the schedule must be constant.",
        **fix_of("Use a constant schedule", optim__schedule="constant", **rate),
    )


def _rate_of_prodigy(settings: Settings, facts: Facts) -> Iterator[Advice]:
    lr = settings.optim.lr
    if settings.optim.optimizer == "prodigy" and lr < 0.1:
        yield Advice(
            "warning",
            "optim.lr",
            f"Prodigy multiplies the rate that it finds by the learning rate: {format_number(lr)} of it learns next "
            "to nothing.",
            **fix_of("Set it to 1", optim__lr=1.0),
        )


def _constants_of_lion(settings: Settings, facts: Facts) -> Iterator[Advice]:
    optim = settings.optim
    if optim.optimizer != "lion":
        return
    if _LION_HIGHEST_LR < optim.lr <= 1e-3:
        yield Advice(
            "advice",
            "optim.lr",
            f"Each step of Lion is as long as the learning rate: {format_number(optim.lr)} acts like three to ten "
            "times as much with AdamW.",
            **fix_of("Set it to 2e-5", optim__lr=2e-5),
        )
    if optim.beta2 > _LION_BETA2:
        yield Advice(
            "advice",
            "optim.beta2",
            f"Lion remembers directions with beta 2; its authors use {_LION_BETA2}, not {format_number(optim.beta2)}.",
            **fix_of(f"Set it to {_LION_BETA2}", optim__beta2=_LION_BETA2),
        )


def _vectors_and_muon(settings: Settings, facts: Facts) -> Iterator[Advice]:
    reason = _BEYOND_MATRICES.get(settings.adapter.kind)
    if settings.optim.optimizer == "muon" and reason is not None:
        yield Advice(
            "error",
            "optim.optimizer",
            f"Muon trains matrices only, and {reason}.",
            **fix_of("Use AdamW", optim__optimizer="adamw"),
        )


def _ratio_without_b(settings: Settings, facts: Facts) -> Iterator[Advice]:
    if settings.optim.lr_ratio_b != 1.0 and settings.adapter.kind not in _WITH_B_MATRICES:
        yield Advice(
            "error",
            "optim.lr_ratio_b",
            "Only LoRA and DoRA have B matrices that could learn at a rate of their own.",
            **fix_of("Set it to 1", optim__lr_ratio_b=1.0),
        )


def _inert_constants(settings: Settings, facts: Facts) -> Iterator[Advice]:
    optim = settings.optim
    values = optim.model_dump()
    for name in _INERT.get(optim.optimizer, ()):
        default = type(optim).model_fields[name].default
        if values[name] != default:
            yield Advice(
                "advice",
                f"optim.{name}",
                f"{_LABELS[name]} has no effect on {_NAMES[optim.optimizer]}.",
                **fix_of("Set it back", **{f"optim__{name}": default}),
            )


def _restarts_end_high(settings: Settings, facts: Facts) -> Iterator[Advice]:
    if settings.optim.schedule == "cosine_restarts" and settings.optim.optimizer not in ("prodigy", "schedule_free"):
        yield Advice(
            "advice",
            "optim.schedule",
            "With restarts, the learning rate is lowest at three quarters of the run and ends at 85 % of its peak: "
            "the best adapter may be better than the final one.",
            **fix_of("Fall along one cosine", optim__schedule="cosine"),
        )


RULES: tuple[Rule, ...] = (
    _no_schedule_beside,
    _vectors_and_muon,
    _ratio_without_b,
    _rate_of_prodigy,
    _constants_of_lion,
    _inert_constants,
    _restarts_end_high,
)
