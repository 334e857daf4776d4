"""The next micro-batch is made while the device computes this one.

What a micro-batch holds is a function of its examples alone (`batches`), so that a run is the same to the last bit
whether batches are made ahead or when they are needed, and whatever was made in vain after the weights went back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Literal

import torch

from sidestep_tui.engine.batches import Collator, Example, MicroBatch

_Made = tuple[Sequence[Example], MicroBatch, torch.cuda.Event | None]


class Feed:
    """Micro-batches on `device`; with `ahead`, made by one thread before they are asked for. No worker processes."""

    def __init__(self, collator: Collator, device: torch.device, *, ahead: bool) -> None:
        self._collator = collator
        self._device = device
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="feed") if ahead else None
        self._pending: Future[_Made | None] | None = None
        # Its own stream lets the copy to the GPU pass by what the GPU still has to compute.
        self._stream = torch.cuda.Stream(device) if ahead and device.type == "cuda" else None

    def batches(
        self, groups: Sequence[Sequence[Example]], following: Callable[[], Sequence[Example]]
    ) -> Iterator[tuple[MicroBatch, float]]:
        """The micro-batch of each group with the seconds it took to get; `following` is the group after the last."""
        for place, group in enumerate(groups):
            began = time.perf_counter()
            batch = self._take(group)
            self._prepare(partial(groups.__getitem__, place + 1) if place + 1 < len(groups) else following)
            yield batch, time.perf_counter() - began

    def _take(self, group: Sequence[Example]) -> MicroBatch:
        """What was made ahead if it is this group, else made now."""
        pending, self._pending = self._pending, None
        made = pending.result() if pending is not None else None
        if made is None or list(made[0]) != list(group):
            return self._collator.collate(group, self._device)
        _, batch, copied = made
        if copied is not None:
            stream = torch.cuda.current_stream(self._device)
            stream.wait_event(copied)
            for tensor in (batch.x0, batch.noise, batch.t, batch.dropped, batch.condition):
                # The allocator must not give the memory to the copying stream while this one still reads it.
                tensor.record_stream(stream)
        return batch

    def _prepare(self, group: Callable[[], Sequence[Example]]) -> None:
        if self._worker is not None:
            self._pending = self._worker.submit(self._make, group)

    def _make(self, group: Callable[[], Sequence[Example]]) -> _Made | None:
        """In the thread: what `group` says, if there is any more."""
        examples = group()
        if not examples:
            return None
        if self._stream is None:
            return examples, self._collator.collate(examples, self._device), None
        with torch.cuda.stream(self._stream):
            batch = self._collator.collate(examples, self._device)
            return examples, batch, self._stream.record_event()


def is_wanted(prefetch: Literal["auto", "on", "off"], device: torch.device) -> bool:
    """Whether to make batches ahead: as asked; `auto` does on CUDA, where computing leaves the processor free."""
    return device.type == "cuda" if prefetch == "auto" else prefetch == "on"
