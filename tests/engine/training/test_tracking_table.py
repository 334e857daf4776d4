"""Where the loss comes from: by noise level, and by song against what is usual at the same level."""

from __future__ import annotations

import json

import pytest

from sidestep_tui.engine.tracking import LossTable, Tracker
from sidestep_tui.protocol import strict


def test_bands_are_means_of_the_epochs_losses_by_noise_level():
    table = LossTable()
    for level, loss in [(0.0, 1.0), (0.2499, 3.0), (0.25, 10.0), (0.8, 4.0), (1.0, 8.0)]:
        table.add("a", level, loss)
    assert table.end_epoch().by_band == {"0.00-0.25": 2.0, "0.25-0.50": 10.0, "0.75-1.00": 6.0}
    table.add("a", 0.6, 5.0)
    assert table.end_epoch().by_band == {"0.50-0.75": 5.0}  # nothing of the epoch before


def test_a_song_is_not_blamed_for_the_levels_that_it_drew():
    table = LossTable()
    # Levels around 0.9 cost ten times those around 0.3; "hard" costs a half more than "easy" at both.
    for song, factor, levels in [("easy", 0.8, (0.3, 0.9, 0.9, 0.9)), ("hard", 1.2, (0.3, 0.3, 0.3, 0.9))]:
        for level in levels:
            table.add(song, level, factor * (10.0 if level > 0.5 else 1.0))
    found = table.end_epoch().by_song
    # Usual at 0.3: (0.8 + 3·1.2) / 4 = 1.1; at 0.9: (3·8 + 12) / 4 = 9.
    assert found["easy"] == pytest.approx((0.8 / 1.1 + 3 * 8 / 9) / 4)
    assert found["hard"] == pytest.approx((3 * 1.2 / 1.1 + 12 / 9) / 4)
    assert found["hard"] > 1 > found["easy"]  # the plain means say the opposite: 6.2 and 3.9


def test_the_past_of_a_song_fades_by_a_tenth_an_epoch():
    table = LossTable()
    table.add("a", 0.5, 3.0)
    table.add("b", 0.5, 1.0)
    assert table.end_epoch().by_song == pytest.approx({"a": 1.5, "b": 0.5})
    table.add("a", 0.5, 1.0)
    table.add("b", 0.5, 3.0)
    usual = (0.9 * 4 + 4) / (0.9 * 2 + 2)
    found = table.end_epoch().by_song
    assert found["a"] == pytest.approx((0.9 * 3 + 1) / 1.9 / usual)
    assert found["b"] == pytest.approx((0.9 * 1 + 3) / 1.9 / usual)


def test_losses_weighed_to_nothing_and_empty_epochs_divide_by_nothing():
    table = LossTable()
    assert table.end_epoch().event() == {"by_band": {}, "by_song": {}}
    table.add("a", 1.0, 0.0)
    breakdown = table.end_epoch()
    assert breakdown.by_band == {"0.75-1.00": 0.0}
    assert breakdown.by_song == {}


def test_of_many_songs_those_that_stand_out_are_told():
    table = LossTable()
    for number in range(300):
        table.add(f"song {number}", 0.5, 1.0 + number)
    told = table.end_epoch().event()["by_song"]
    assert list(told) == [f"song {number}" for number in (*range(50), *range(250, 300))]


def test_a_table_goes_on_from_its_state_bit_for_bit():
    def feed(table: LossTable, first: int) -> list[object]:
        found = []
        for epoch in range(first, first + 3):
            for number in range(7):
                table.add(f"s{number % 3}", (number * 0.37 + epoch * 0.11) % 1.0, 0.1 + number / 7 + epoch / 3)
            found.append(table.end_epoch())
        return found

    whole, first = LossTable(), LossTable()
    expected = feed(whole, 0) + feed(whole, 3)
    feed(first, 0)
    tracker = Tracker(best_after=0, patience=0)
    saved = Tracker(best_after=0, patience=0)
    saved.table = first
    tracker.restore(json.loads(json.dumps(saved.state(), allow_nan=False)))
    assert feed(tracker.table, 3) == expected[3:]


def test_checkpoints_from_before_the_table_are_readable_and_damaged_tables_are_not():
    state = Tracker(best_after=0, patience=0).state()
    del state["table"]
    Tracker(best_after=0, patience=0).restore(state)
    with pytest.raises(ValueError, match="3 sums"):
        Tracker(best_after=0, patience=0).restore({**state, "table": {"bands": [1, 2, 3]}})


def test_the_trainer_counts_every_example_of_an_epoch_and_none_of_a_skipped_step(new_trainer, new_song):
    trainer = new_trainer()
    while not trainer.at_end_of_epoch:
        trainer.step()
    sums = trainer.tracker.table._bands
    assert sum(sums.counts) == 5
    assert sum(sums.losses) == pytest.approx(trainer._loss_sum)
    breakdown = trainer.end_epoch().breakdown
    assert set(breakdown.by_song) == {"a", "b", "c", "d", "e"}

    broken = new_trainer(songs=[new_song("quiet", 60, 9), new_song("deafening", 60, 9, fill=1e30)])
    assert broken.step().skipped
    assert broken.end_epoch().breakdown.by_band == {}


def test_altered_copies_count_for_their_song(new_trainer, new_song):
    trainer = new_trainer(songs=[new_song("a", 60, 9, takes=(new_song("a (pitch +1)", 60, 9),)), new_song("b", 60, 9)])
    for _ in range(6):
        trainer.step()
        if trainer.at_end_of_epoch:
            breakdown = trainer.end_epoch().breakdown
    assert set(breakdown.by_song) == {"a", "b"}


def test_the_table_costs_no_further_wait_for_the_device(new_trainer, monkeypatch):
    import torch

    waits = []
    tolist = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "item", lambda self: pytest.fail("a second wait"))
    trainer = new_trainer()
    trainer.step()  # the order of the epoch and the optimizer's own start

    def counted(self: torch.Tensor) -> object:
        waits.append(self.shape)
        return tolist(self)

    monkeypatch.setattr(torch.Tensor, "tolist", counted)
    trainer.step()
    assert waits[-1] == (2 + 2 + 1,)  # losses, levels and the gradient's norm
    assert waits[:-1] == [(5,)]  # the order of the songs, which lies on the host


def test_the_breakdown_is_part_of_the_protocol_and_epochs_without_it_stay_valid():
    epoch = {
        "v": 1,
        "seq": 0,
        "t": 0.0,
        "session": "s",
        "type": "epoch",
        "epoch": 1,
        "step": 3,
        "loss": 1.0,
        "smoothed_loss": None,
        "seconds": 1.0,
    }
    strict.check(epoch)
    strict.check({**epoch, "by_band": {"0.00-0.25": 0.5}, "by_song": {"a": 1.1}})
    with pytest.raises(ValueError, match="by_song"):
        strict.check({**epoch, "by_song": {"a": "high"}})
