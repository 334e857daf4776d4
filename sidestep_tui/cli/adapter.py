"""`adapter`: looking into adapter files without loading them."""

from __future__ import annotations

from pathlib import Path

import click

from sidestep_tui.cli import options, render
from sidestep_tui.core import paths, text
from sidestep_tui.launch import adapter_files


@click.group()
def adapter() -> None:
    """Look into adapter files."""


@adapter.command()
@click.argument("path", type=click.Path(path_type=Path))
@options.json_option
def inspect(path: Path, as_json: bool) -> None:
    """Show kind, rank, alpha, targets and metadata of the adapter at PATH: a file, its directory, or a run."""
    report = adapter_files.inspect(path)
    if as_json:
        render.data_json(report.to_dict())
        return
    facts = {
        "file": paths.shorten(report.path),
        "kind": report.kind,
        "names": f"{report.naming} module names",
        "rank": text.listing([str(rank) for rank in report.ranks], most=8) or "–",
        "alpha": text.listing([text.number(alpha) for alpha in report.alphas], most=8) or "–",
        "size": f"{text.plural(report.tensors, 'tensor')}, {text.count(report.parameters)} parameters, "
        f"{text.file_size(report.bytes)}, {text.listing(report.dtypes)}",
        "layers": str(report.layers),
    }
    for line in render.pairs(facts):
        render.data(line)
    render.data("targets")
    for line in render.table([[name, str(count)] for name, count in report.targets.items()], right=(1,)):
        render.data(f"  {line}")
    if report.metadata:
        render.data("metadata")
        for key, value in sorted(report.metadata.items()):
            render.data(f"  {key}: {value if len(value) <= 200 else value[:199] + '…'}")
    for warning in report.warnings:
        render.say(f"{click.style('Warning:', fg='yellow')} {warning}")
