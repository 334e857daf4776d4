"""Filling the cache of encoded songs, or saying what that would take, as a job of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sidestep_tui.core.errors import DiskFullError, OutOfMemoryError
from sidestep_tui.dataset import manifest
from sidestep_tui.engine import failures
from sidestep_tui.schema.settings import Settings

if TYPE_CHECKING:
    from sidestep_tui.engine.job import Channel

_AGAIN = "What is encoded stays, and the next time continues from there."


def carry_out(settings: Settings, channel: Channel, *, plan: bool) -> dict[str, Any]:
    """Plan or encode; plain values for JSON. What is a run's remedy in an error becomes that of encoding."""
    try:
        return _carry_out(settings, channel, plan=plan)
    except (RuntimeError, MemoryError, OSError, OutOfMemoryError, DiskFullError) as error:
        known = failures.known(error)
        if isinstance(known, OutOfMemoryError):
            hint = f"Close what else uses the device. {_AGAIN}"
            raise OutOfMemoryError(known.title, known.message, hint) from error
        if isinstance(known, DiskFullError):
            raise DiskFullError(known.title, known.message, f"Free some space. {_AGAIN}") from error
        raise


def _carry_out(settings: Settings, channel: Channel, *, plan: bool) -> dict[str, Any]:
    songs = manifest.scan(settings.data.path, settings.data.txt_role, settings.data.language)
    # 5 s and more (torch, diffusers): after the songs, so that a folder that cannot be used is refused at once.
    from sidestep_tui.engine import devices, encode, encode_plan, pieces, weights

    device = devices.choose(settings.memory)
    dtype = devices.for_encoding(devices.precision(settings.memory, device))
    devices.prepare(device)
    ckpt = weights.find_checkpoint(settings.model.path, settings.model.variant, settings.model.components)
    for skipped in songs.skipped:
        channel.warning("song_skipped", skipped.sentence)
    for sentence in songs.warnings:
        channel.warning("dataset", sentence)
    where = {"cache": str(pieces.cache_root(settings.data)), "device": devices.describe(device, dtype)}
    if plan:
        planned = encode_plan.plan(songs, ckpt, settings, dtype, channel.progress, channel.should_stop)
        return {**where, **planned.to_dict()}
    made = encode.encode_dataset(
        songs, ckpt, settings, device, dtype, channel.progress, channel.should_stop, channel.warning
    )
    return {
        **where,
        "songs": len(made.songs),
        "copies": sum(len(song.takes) for song in made.songs),
        "encoded": made.made,
        "skipped": [{"name": name, "reason": reason} for name, reason in made.skipped],
    }
