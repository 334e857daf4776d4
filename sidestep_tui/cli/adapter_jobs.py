"""`adapter export` and `adapter effect`: what takes the engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sidestep_tui.cli import options, render
from sidestep_tui.core import paths, text
from sidestep_tui.core.errors import ExitCode
from sidestep_tui.launch import adapter_jobs, models
from sidestep_tui.launch import plan as plans
from sidestep_tui.launch.job import Said
from sidestep_tui.schema import adapter_names, layers
from sidestep_tui.schema.settings import Settings


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--to", "target", type=click.Choice(adapter_jobs.FORMATS), required=True, help="Who is to load it; see below."
)
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Where to write it; by default NAME_FORMAT here. For peft a directory.",
)
@click.option(
    "--model",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The checkpoint it was trained on; only DoRA for ComfyUI needs it.",
)
@options.json_option
def export(path: Path, target: str, output: Path | None, model: Path | None, as_json: bool) -> int:
    """Write the adapter at PATH in another format.

    PATH is any adapter for ACE-Step 1.5: a run, a directory, a file of peft, diffusers, ComfyUI or LyCORIS. What is
    written is read again and compared before it gets its name; nothing is ever overwritten.

    \b
    comfyui    one file with alpha, for ComfyUI's LoRA loader at strength 1
    diffusers  one file for pipe.load_lora_weights
    peft       a directory for ACE-Step's own app, and for peft
    lycoris    one file for LyCORIS; LoKr also for ACE-Step's app
    """
    path = paths.expand(path)
    place = None if output is None else paths.expand(output)
    adapter_names.weights_file(path)
    try:
        result = adapter_jobs.export(path, target, place, _model_for(path, model))
    except KeyboardInterrupt:
        render.say("Stopped. Nothing was written.")
        return int(ExitCode.STOPPED)
    if as_json:
        render.data_json(result)
        return int(ExitCode.DONE)
    render.data(result["path"])
    size = f"{text.plural(result['modules'], 'module')}, {text.file_size(result['bytes'])}"
    render.say(f"{result['kind']} for {target}: {size}; it reads back as the same adapter.")
    for note in result["notes"]:
        render.say(note)
    return int(ExitCode.DONE)


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--model", metavar="DIR", help="The checkpoint to measure on; of a run, its own.")
@click.option("--dataset", metavar="DIR", help="Songs to measure on; of a run, its own held-out songs.")
@options.set_option
@options.json_option
def effect(path: Path, model: str | None, dataset: str | None, assignments: tuple[str, ...], as_json: bool) -> int:
    """Measure how much the adapter at PATH changes the model's output at strength 1.

    The same ten seconds of up to four songs go through the plain and the adapted model at four noise levels. 0 % is no
    change, 100 % one as large as the output itself. For an adapter in its run, model and songs are the run's;
    without songs, noise takes their place.
    """
    path = paths.expand(path)
    settings, source = _settings(path, model, dataset, assignments)
    try:
        result = adapter_jobs.effect(path, settings, source, _progress)
    except KeyboardInterrupt:
        render.say("Stopped.")
        return int(ExitCode.STOPPED)
    if as_json:
        render.data_json(result)
        return int(ExitCode.DONE)
    rows = [[name, _share(value)] for name, value in result["by_band"].items()]
    for line in render.table([*rows, ["all", _share(result["change"])]], ("NOISE", "CHANGE"), right=(1,)):
        render.data(line)
    render.say(result["sentence"])
    for note in result["notes"]:
        render.say(note)
    return int(ExitCode.DONE)


def _settings(path: Path, model: str | None, dataset: str | None, assignments: tuple[str, ...]) -> tuple[Settings, str]:
    """Model and songs to measure on, and what those songs are to the adapter."""
    adapter_names.weights_file(path)
    run = _run_of(path)
    if run is not None:
        plan = plans.from_preset(str(run), model=model, dataset=dataset, assignments=assignments)
    else:
        typed = {**({"model.path": model} if model else {}), **({"data.path": dataset} if dataset else {})}
        plan = plans.from_layers([layers.command_line(assignments, typed)])
    settings = plan.resolved.settings
    models.locate(settings.model.path, settings.model.variant)
    if dataset is not None:
        return settings, "given"
    return settings, "held-out" if run is not None and settings.data.path else "made-up"


def _run_of(path: Path) -> Path | None:
    """The run.toml of the run that the adapter lies in."""
    start = path.resolve()
    for place in (start, *list(start.parents)[:3]):
        if (place / "run.toml").is_file():
            return place / "run.toml"
    return None


def _progress(said: Said) -> None:
    phase = said.what.replace("_", " ").capitalize()
    render.say(f"{phase}: {said.done} of {said.total} {render.plain(said.name)}".rstrip())


def _model_for(path: Path, model: Path | None) -> Path | None:
    """The checkpoint that was named, else that of the run in which the adapter lies."""
    run = _run_of(path)
    if model is not None or run is None:
        return None if model is None else paths.expand(model)
    known = plans.from_preset(str(run)).resolved.settings.model.path
    return paths.expand(known) if known else None


def _share(value: Any) -> str:
    return f"{100 * value:.2f} %" if isinstance(value, float) else str(value)
