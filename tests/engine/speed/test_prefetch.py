"""Batches made ahead are the batches that would have been made when they were needed."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
import torch

from sidestep_tui.engine.batches import Example, MicroBatch
from sidestep_tui.engine.speed import prefetch

CPU = torch.device("cpu")
GROUPS = [[Example(song, f"song {song}", 0, 4, 3, 0, song)] for song in range(5)]


class Collator:
    """Makes batches that say which examples they are of, and in which thread they were made."""

    def __init__(self) -> None:
        self.threads: list[str] = []
        self.broken: int | None = None

    def collate(self, examples: Sequence[Example], device: torch.device) -> MicroBatch:
        if examples[0].song == self.broken:
            raise OSError("the disk is gone")
        self.threads.append(threading.current_thread().name)
        number = torch.tensor([example.song for example in examples])
        return MicroBatch(tuple(example.name for example in examples), number, number, number, number, number)


def names(feed: prefetch.Feed, groups: list[list[Example]], following: list[Example]) -> list[str]:
    return [batch.names[0] for batch, _ in feed.batches(groups, lambda: following)]


def test_batches_come_in_order_and_all_but_the_first_are_made_ahead() -> None:
    collator = Collator()
    feed = prefetch.Feed(collator, CPU, ahead=True)
    assert names(feed, GROUPS[:2], GROUPS[2]) == ["song 0", "song 1"]
    assert names(feed, GROUPS[2:4], GROUPS[4]) == ["song 2", "song 3"]
    ahead = [name.startswith("feed") for name in collator.threads[:4]]
    assert ahead == [False, True, True, True]


def test_what_was_made_in_vain_is_thrown_away() -> None:
    """After the weights went back, or when a step is repeated with smaller groups."""
    feed = prefetch.Feed(Collator(), CPU, ahead=True)
    assert names(feed, GROUPS[:1], GROUPS[1]) == ["song 0"]
    assert names(feed, GROUPS[3:4], GROUPS[4]) == ["song 3"]
    for _ in feed.batches(GROUPS[:3], lambda: []):
        break
    assert names(feed, GROUPS[:2], []) == ["song 0", "song 1"]


def test_a_song_that_cannot_be_read_is_told_where_it_is_needed() -> None:
    collator = Collator()
    collator.broken = 1
    feed = prefetch.Feed(collator, CPU, ahead=True)
    assert names(feed, GROUPS[:1], GROUPS[1]) == ["song 0"]
    with pytest.raises(OSError, match="disk"):
        names(feed, GROUPS[1:2], [])


@pytest.mark.parametrize(
    ("choice", "device", "ahead"),
    [("auto", "cpu", False), ("auto", "cuda", True), ("on", "cpu", True), ("off", "cuda", False)],
)
def test_only_cuda_prepares_ahead_unless_told_to(choice: str, device: str, ahead: bool) -> None:
    assert prefetch.is_wanted(choice, torch.device(device)) is ahead
