"""The settings models flattened into one list of FieldSpecs, from which every rendering is made.

Wizard rows, command-line help, the README table, preset comments and validation all read these; nobody else looks
into pydantic.
"""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any, Literal

import annotated_types
from pydantic.fields import FieldInfo

from sidestep_tui.schema.meta import Group, Meta
from sidestep_tui.schema.settings import Settings

# Floats hold every integer up to here; beyond, a number in a settings file is a mistake.
LARGEST_EXACT = 2**53

Kind = Literal["bool", "int", "float", "choice", "choices", "text", "path"]


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One setting: `path` is its dotted address (`adapter.rank`)."""

    path: str
    group: str
    name: str
    kind: Kind
    default: Any
    choices: tuple[str, ...]
    low: float | None
    high: float | None
    low_open: bool
    high_open: bool
    help: str
    meta: Meta
    min_length: int = 0
    max_length: int | None = None
    pattern: str = ""

    @property
    def bounds(self) -> str:
        """The allowed range in words, empty where anything goes: `1–512`, `above 0, at most 1`."""
        if self.choices:
            return ", ".join(self.choices)
        if self.low is None and self.high is None:
            return self.meta.allowed
        if self.low is not None and self.high is not None and not (self.low_open or self.high_open):
            return f"{_bound(self.low)}{'–' if self.low >= 0 else ' to '}{_bound(self.high)}"
        parts = []
        if self.low is not None:
            parts.append(f"{'above' if self.low_open else 'at least'} {_bound(self.low)}")
        if self.high is not None:
            parts.append(f"{'below' if self.high_open else 'at most'} {_bound(self.high)}")
        return ", ".join(parts)

    def write(self, value: Any) -> str:
        """A value as people read and type it: `true`, `q, k`, `7e-5`."""
        if self.kind == "bool":
            return "true" if value else "false"
        if self.kind == "choices":
            return ", ".join(value)
        return format_number(value) if self.kind in ("int", "float") else str(value)


@cache
def all_fields() -> tuple[FieldSpec, ...]:
    """Every setting in the order of the models."""
    specs: list[FieldSpec] = []
    for group_name, group_info in Settings.model_fields.items():
        group_type = group_info.annotation
        assert isinstance(group_type, type)
        assert issubclass(group_type, Group)
        specs.extend(_spec(group_name, name, info) for name, info in group_type.model_fields.items())
    return tuple(specs)


@cache
def fields_by_path() -> dict[str, FieldSpec]:
    """The same, by dotted path."""
    return {spec.path: spec for spec in all_fields()}


def group_names() -> tuple[str, ...]:
    """The groups in order: model, data, adapter, …"""
    return tuple(Settings.model_fields)


def group_help(group: str) -> str:
    """One sentence about a group."""
    annotation = Settings.model_fields[group].annotation
    assert annotation is not None
    return (annotation.__doc__ or "").strip()


def markdown_table() -> str:
    """The README's table of every setting, one heading and table a group."""
    parts: list[str] = []
    for group in group_names():
        parts += [f"**{group}** – {group_help(group)}", ""]
        parts += ["| setting | default | allowed | level | what it does |", "|---|---|---|---|---|"]
        parts += [_row(spec) for spec in all_fields() if spec.group == group]
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def format_number(value: float) -> str:
    """The shortest exact form of a number: `60`, `0.15`, `7e-5`."""
    if is_whole(value):
        return str(int(value))
    if abs(value) >= 1e-3:
        return repr(float(value)).replace("e+", "e")
    sign, digits, exponent = Decimal(repr(float(value))).normalize().as_tuple()
    assert isinstance(exponent, int)
    first, *rest = (str(digit) for digit in digits)
    mantissa = f"{first}.{''.join(rest)}" if rest else first
    return f"{'-' if sign else ''}{mantissa}e{exponent + len(digits) - 1}"


def is_whole(number: float) -> bool:
    """Whether a number is an integer that a float holds exactly."""
    return abs(number) <= LARGEST_EXACT and number == int(number)


def _row(spec: FieldSpec) -> str:
    default = f"`{spec.write(spec.default)}`" if spec.write(spec.default) else ""
    unit = f" {spec.meta.unit}" if spec.meta.unit and default else ""
    cells = (f"`{spec.path}`", f"{default}{unit}", spec.bounds, spec.meta.level, spec.help)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _spec(group: str, name: str, info: FieldInfo) -> FieldSpec:
    meta = next(item for item in info.metadata if isinstance(item, Meta))
    kind, choices = _kind(info.annotation, meta)
    low = high = None
    low_open = high_open = False
    min_length, max_length, pattern = 0, None, ""
    for item in info.metadata:
        if isinstance(item, annotated_types.Ge):
            low = float(typing.cast(float, item.ge))
        elif isinstance(item, annotated_types.Gt):
            low, low_open = float(typing.cast(float, item.gt)), True
        elif isinstance(item, annotated_types.Le):
            high = float(typing.cast(float, item.le))
        elif isinstance(item, annotated_types.Lt):
            high, high_open = float(typing.cast(float, item.lt)), True
        elif isinstance(item, annotated_types.MinLen):
            min_length = item.min_length
        elif isinstance(item, annotated_types.MaxLen):
            max_length = item.max_length
        elif isinstance(item, annotated_types.BaseMetadata) and hasattr(item, "pattern"):
            # pydantic keeps `pattern` in a class that it makes inside a function; there is no name to test for.
            pattern = item.pattern
    return FieldSpec(
        path=f"{group}.{name}",
        group=group,
        name=name,
        kind=kind,
        default=info.default,
        choices=choices,
        low=low,
        high=high,
        low_open=low_open,
        high_open=high_open,
        help=" ".join((info.description or "").split()),
        meta=meta,
        min_length=min_length,
        max_length=max_length,
        pattern=pattern,
    )


def _bound(number: float) -> str:
    """`10,000,000`, `0.01`, `1e-8`: the way people write bounds."""
    return f"{int(number):,}" if number == int(number) else f"{number:g}"


def _kind(annotation: Any, meta: Meta) -> tuple[Kind, tuple[str, ...]]:
    origin = typing.get_origin(annotation)
    if origin is Literal:
        return "choice", tuple(typing.get_args(annotation))
    if origin is tuple:
        inner = typing.get_args(annotation)[0]
        return "choices", tuple(typing.get_args(inner))
    if origin in (typing.Union, types.UnionType):
        raise TypeError(f"settings have one type each, not {annotation}")
    simple: dict[type, Kind] = {bool: "bool", int: "int", float: "float"}
    if annotation in simple:
        return simple[annotation], ()
    return ("path" if meta.path else "text"), ()
