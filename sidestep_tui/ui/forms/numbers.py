"""How a key changes a number, and which number was meant by one out of bounds. Pure."""

from __future__ import annotations

from sidestep_tui.schema.fields import FieldSpec


def nearest(spec: FieldSpec, typed: str) -> int | float | None:
    """The bound that a number out of bounds is nearest to; None for what is no number, or whose bound is open."""
    if spec.kind not in ("int", "float"):
        return None
    try:
        number = float(typed)
    except ValueError:
        return None
    if spec.high is not None and number > spec.high and not spec.high_open:
        bound = spec.high
    elif spec.low is not None and number < spec.low and not spec.low_open:
        bound = spec.low
    else:
        return None
    return int(bound) if spec.kind == "int" else bound


def bumped(spec: FieldSpec, value: float, direction: int) -> float:
    """The next sensible value of a number: a step, double or half, or a quarter more; kept within the bounds."""
    factor = {"double": 2.0, "scale": 1.25}.get(spec.meta.bump, 0.0)
    if factor and value:
        new = value * factor if direction > 0 else value / factor
        if spec.meta.bump == "scale":
            new = float(f"{new:.3g}")
    else:
        new = value + direction * spec.meta.step
        new = round(new, 10)
    if spec.kind == "int":
        new = int(new)
    if spec.high is not None and (new > spec.high or (spec.high_open and new >= spec.high)):
        new = value if spec.high_open else spec.high
    if spec.low is not None and (new < spec.low or (spec.low_open and new <= spec.low)):
        new = value if spec.low_open else spec.low
    return int(new) if spec.kind == "int" else float(new)
