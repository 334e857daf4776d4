"""`runs feed`: the numbers of a run in TensorBoard, Weights & Biases or trackio."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType

import click

from sidestep_tui.cli import options, render
from sidestep_tui.core import paths, text
from sidestep_tui.launch.sinks_feed import SINKS, Feed, Sink
from sidestep_tui.launch.sinks_remote import TrackioSink, WandbSink
from sidestep_tui.launch.sinks_tensorboard import TensorBoardSink
from sidestep_tui.protocol.liveness import Liveness, liveness
from sidestep_tui.protocol.rundir import RunDir

_POLL_SECONDS = 0.5
_SINKS: dict[str, type[Sink]] = {"tensorboard": TensorBoardSink, "wandb": WandbSink, "trackio": TrackioSink}


@click.command()
@options.run_argument()
@click.option("--to", "sink_name", type=click.Choice(SINKS), required=True, help="Who receives the numbers.")
@click.option("--follow", is_flag=True, help="Stay until the run ends.")
@click.option("--dir", "directory", metavar="DIR", help="Where the sink's files go.  [default: RUN/sinks/SINK]")
@click.option("--project", default="sidestep-tui", show_default=True, help="The project in W&B or trackio.")
def feed(run: str, sink_name: str, follow: bool, directory: str | None, project: str) -> None:
    """Send the metrics of RUN to TensorBoard, Weights & Biases or trackio: what it has said, or live with --follow.

    A process that only reads: ending it (Ctrl-C) leaves the run going, and calling it again goes on where it ended;
    no number is sent twice. Log in with the sink's own tools: no key is read or kept here.
    """
    run_dir = options.find_run(run)
    sink = _SINKS[sink_name]()
    place = Path(directory).expanduser() if directory else run_dir.path / "sinks" / sink_name
    with (
        _Interruption() as interruption,
        Feed(run_dir, sink_name, sink, place, project=project, say=render.say) as feeding,
    ):
        feeding.pump(interruption.came)
        if follow:
            _follow(feeding, run_dir, interruption)
        if interruption.came():
            render.say("Ending; the same command goes on from here.")
    render.say(
        f"{text.plural(feeding.sent, 'point')} sent, {text.thousands(feeding.progress.points)} in all, "
        f"up to step {text.thousands(max(0, feeding.progress.step))}."
    )
    if sink_name == "tensorboard":
        render.say(f"Look at them with `tensorboard --logdir {paths.shorten(place)}`.")
    render.data(str(place))


class _Interruption:
    """While it lasts, Ctrl-C and SIGTERM are noted, so that a block is sent whole; a second one ends at once."""

    _SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self._count = 0
        self._before: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}

    def came(self) -> bool:
        """Whether it is time to end."""
        return self._count > 0

    def __enter__(self) -> _Interruption:
        for number in self._SIGNALS:
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        if self._count > 1:
            raise KeyboardInterrupt


def _follow(feeding: Feed, run_dir: RunDir, interruption: _Interruption) -> None:
    said = False
    while not interruption.came():
        life = liveness(run_dir, time.time())
        # Asked before reading: whatever the engine wrote before its end is then in the file.
        feeding.pump(interruption.came)
        if not (life.is_alive or life is Liveness.FRESH):
            return
        if life is Liveness.FRESH and not said:
            said = True
            render.say(f"No engine has begun in {run_dir.name} yet; waiting. Ctrl-C leaves.")
        time.sleep(_POLL_SECONDS)
