"""`adapter`: looking into adapter files, which needs no engine, and what does (`adapter_jobs`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import click

from sidestep_tui.cli import adapter_jobs, options, render
from sidestep_tui.core import paths, text
from sidestep_tui.launch import adapter_files, adapter_norms
from sidestep_tui.launch.adapter_norms import Anatomy

_BAR_WIDTH = 24
_FORMATS = {"peft": "peft", "diffusers": "diffusers", "comfyui": "ComfyUI", "lycoris": "LyCORIS"}


@click.group()
def adapter() -> None:
    """Look into adapter files, convert them, measure what they do."""


adapter.add_command(adapter_jobs.export)
adapter.add_command(adapter_jobs.effect)


@adapter.command()
@click.argument("path", type=click.Path(path_type=Path))
@options.json_option
def inspect(path: Path, as_json: bool) -> None:
    """Show what the adapter at PATH is and how much it changes: a file, its directory, or a run.

    Kind, rank, alpha, scale, likely base, recipe, and the norm of the change by layer and block, at strength 1. Two
    adapters of one base can be compared by it; what it does to the sound is for the ears.
    """
    report = adapter_files.inspect(path)
    anatomy = adapter_norms.examine(report.path, report.config)
    if as_json:
        render.data_json({**report.to_dict(), "change": anatomy.to_dict()})
        return
    facts = {
        "file": paths.shorten(report.path),
        "kind": report.kind,
        "format": f"{_FORMATS[report.format]}, {report.naming} module names",
        "base": f"{anatomy.base} by its widths" if anatomy.base else "not told by its widths",
        "rank": text.listing([str(rank) for rank in report.ranks], most=8) or "–",
        "alpha": text.listing([text.number(alpha) for alpha in report.alphas], most=8) or "–",
        "scale": text.listing([text.number(scale) for scale in anatomy.scales], most=8) or "–",
        "size": f"{text.plural(report.tensors, 'tensor')}, {text.count(report.parameters)} parameters, "
        f"{text.file_size(report.bytes)}, {text.listing(report.dtypes)}",
        "layers": str(report.layers),
        "change": _norm(anatomy.norm),
    }
    for line in render.pairs(facts):
        render.data(line)
    _show_change(anatomy)
    if report.kind == "DoRA":
        render.data("(of the low-rank part, before DoRA sets the length of each row: that needs the base)")
    _show_texts("recipe", anatomy.recipe)
    _show_texts("metadata", {key: value for key, value in report.metadata.items() if key != "sidestep_tui"})
    for warning in report.warnings:
        render.say(f"{click.style('Warning:', fg='yellow')} {warning}")


def _show_change(anatomy: Anatomy) -> None:
    """Norms by kind of layer and by block, each with a bar against the largest of its table."""
    counts = Counter(module.target for module in anatomy.modules)
    _show_bars("TARGET", "MODULES", [(name, counts[name], norm) for name, norm in anatomy.by_target.items()])
    blocks = Counter(module.block for module in anatomy.modules)
    _show_bars("BLOCK", "MODULES", [(str(block), blocks[block], norm) for block, norm in anatomy.by_block.items()])


def _show_bars(name: str, count: str, rows: list[tuple[str, int, float | None]]) -> None:
    if not rows:
        return
    largest = max((norm or 0.0 for _, _, norm in rows), default=0.0)
    cells = [
        [label, str(number), _norm(norm), "#" * round(_BAR_WIDTH * (norm or 0.0) / largest) if largest else ""]
        for label, number, norm in rows
    ]
    for line in render.table(cells, (name, count, "CHANGE", ""), right=(1, 2)):
        render.data(line)


def _show_texts(title: str, values: Mapping[str, str]) -> None:
    if not values:
        return
    render.data(title)
    for key, value in sorted(values.items()):
        words = render.plain(value)
        render.data(f"  {render.plain(key)}: {words if len(words) <= 200 else words[:199] + '…'}")


def _norm(value: float | None) -> str:
    return "–" if value is None else text.number(value)
