"""What a preset would do to a draft: the settings that change, and what the run would cost then. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from sidestep_tui.launch import hardware
from sidestep_tui.launch.gpus import Device
from sidestep_tui.schema import memory_model
from sidestep_tui.schema.draft import PERSONAL, Draft
from sidestep_tui.schema.fields import fields_by_path
from sidestep_tui.schema.fit_ladder import HEADROOM
from sidestep_tui.schema.layers import DEFAULT, HARDWARE, Layer
from sidestep_tui.schema.model_shape import ModelShape
from sidestep_tui.schema.settings import Settings
from sidestep_tui.schema.values import format_value
from sidestep_tui.ui.forms.cells import shown_text

Verdict = Literal["fits", "tight", "over", "unknown"]
"""Within what is free; more than that, but not than the device has; more than it has; no device is known."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What presets are tried on: a draft as it stands (its JSON, so that a thread may have it) and the machine."""

    draft: Mapping[str, Any]
    shape: ModelShape
    device: Device | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A setting that would read differently; texts as the form shows them, origins as the draft names them."""

    path: str
    label: str
    now: str
    then: str
    origin_now: str
    origin_then: str
    yours: bool
    """Whether it is an edit that the preset would replace."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run would take: bytes of the device's memory, weights that are trained."""

    memory: int
    parameters: int
    device: Device | None

    @property
    def verdict(self) -> Verdict:
        """Whether it fits what is free, with a little left over for what no estimate sees."""
        if self.device is None:
            return "unknown"
        if self.memory <= HEADROOM * self.device.free:
            return "fits"
        return "tight" if self.memory <= self.device.total else "over"


@dataclass(frozen=True, slots=True)
class Effect:
    """The draft with a preset under it."""

    base: str
    """The origin that the draft starts from now."""
    changes: tuple[Change, ...]
    settings: Settings
    cost: Cost

    @property
    def lost(self) -> tuple[Change, ...]:
        """The edits that the preset would replace."""
        return tuple(change for change in self.changes if change.yours)


def effect_of(bench: Bench, layers: Iterable[Layer], *, keep: Collection[str] = ()) -> Effect:
    """What starting from `layers` would make of the draft; the edits of the settings in `keep` stay on top."""
    now = Draft.from_json(bench.draft)
    then = Draft.from_json(bench.draft)
    then.apply_layer(*layers, keep=keep)
    if bench.device is not None:
        then.apply_hardware(hardware.layer(then.settings, device=bench.device, shape=bench.shape))
    return Effect(now.base_name, tuple(_changes(now, then)), then.settings, cost_of(bench, then.settings))


def bench_on(bench: Bench, layers: Iterable[Layer]) -> Bench:
    """The same bench with the draft started from `layers`, without the person's edits of the recipe."""
    draft = Draft.from_json(bench.draft)
    draft.apply_layer(*layers)
    if bench.device is not None:
        draft.apply_hardware(hardware.layer(draft.settings, device=bench.device, shape=bench.shape))
    return replace(bench, draft=draft.to_json())


def cost_of(bench: Bench, settings: Settings) -> Cost:
    """What `settings` take on the bench's device."""
    if bench.device is None:
        estimate = memory_model.estimate(bench.shape, settings)
    else:
        estimate = hardware.estimate_for(settings, bench.device, bench.shape)
    return Cost(estimate.total, memory_model.adapter_parameters(bench.shape, settings), bench.device)


def edits_of(draft: Draft) -> list[str]:
    """The settings of the recipe that were edited: what another preset would replace."""
    return [path for path in draft.changed if path not in PERSONAL]


def _changes(now: Draft, then: Draft) -> Iterable[Change]:
    edited = set(edits_of(now))
    for path, spec in fields_by_path().items():
        before, after = now.value(path), then.value(path)
        if before == after:
            continue
        yield Change(
            path=path,
            label=spec.meta.label,
            now=shown_text(spec, format_value(spec, before)) or "none",
            then=shown_text(spec, format_value(spec, after)) or "none",
            origin_now=now.origin(path),
            origin_then=then.origin(path),
            yours=path in edited,
        )


def short_origin(origin: str) -> str:
    """An origin in a word or two: `default`, `yours`, `hardware`, or the name of the preset or run."""
    if origin in (DEFAULT, HARDWARE):
        return origin
    kind, _, name = origin.partition(" ")
    return name if kind in ("preset", "run", "import") and name else origin
