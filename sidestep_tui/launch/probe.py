"""Measuring what a run needs, in a process of its own that is gone afterwards with all that it held."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from sidestep_tui.launch import job
from sidestep_tui.schema.model_shape import ModelShape
from sidestep_tui.schema.settings import Settings

_PROBE = job.Job("probe", "The probe", "`sidestep-tui fit` without --probe shows what needs less.")


def measure(
    settings: Settings,
    shape: ModelShape,
    report: job.Report,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """What the probe found (engine/probe.py, `Measured`); `report` hears of its phases and steps.

    Blocks, and looks at `should_stop` a few times a second. Raises what the probe refused, OutOfMemoryError with the
    rung that would fit, or EngineStopped when it was told to stop.
    """
    request = {"settings": settings.model_dump(mode="json"), "shape": dataclasses.asdict(shape)}
    return job.ask(_PROBE, request, report, should_stop)
