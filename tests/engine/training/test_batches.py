"""Orders, crops and groups: everything follows from seed, epoch and place, and nothing is padded."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from functools import partial

import pytest
import torch

from sidestep_tui.core.errors import DataError
from sidestep_tui.engine.batches import Collator, Sampler, SongStore, crop_frames, generator

CPU = torch.device("cpu")


def sampler(songs, settings, seed: int = 1) -> Sampler:
    return Sampler(SongStore(songs, "ram", 0), settings.data, settings.train, seed=seed)


def whole_epoch(made: Sampler, epoch: int = 0) -> list[list]:
    steps = []
    offset = 0
    while examples := made.examples(epoch, offset):
        steps.append(examples)
        offset += len(examples)
    return steps


def test_every_song_is_heard_as_often_as_repeats_say_and_the_last_batch_is_kept(songs, new_settings):
    made = sampler(songs, new_settings(data={"repeats": 3}, train={"batch_size": 2, "accumulation": 2}))
    steps = whole_epoch(made)
    assert [len(step) for step in steps] == [4, 4, 4, 3]
    assert made.steps_per_epoch == 4
    heard = Counter(example.name for step in steps for example in step)
    assert heard == {song.name: 3 for song in songs}


def test_a_songs_own_repeats_multiply_those_of_the_settings(new_song, new_settings):
    made = sampler([new_song("a", 50, 5, repeats=3), new_song("b", 50, 5)], new_settings(data={"repeats": 2}))
    assert Counter(example.name for step in whole_epoch(made) for example in step) == {"a": 6, "b": 2}


def test_fewer_songs_than_a_batch_still_make_a_step(new_song, new_settings):
    made = sampler([new_song("only", 100, 5)], new_settings(train={"batch_size": 8, "accumulation": 8}))
    assert [len(step) for step in whole_epoch(made)] == [1]


def test_epochs_have_different_orders_and_crops_that_a_seed_repeats(songs, new_settings):
    settings = new_settings(data={"repeats": 4})
    made = sampler(songs, settings)

    def epoch(source: Sampler, number: int) -> list[tuple[str, int]]:
        return [(example.name, example.start) for step in whole_epoch(source, number) for example in step]

    assert epoch(made, 0) != epoch(made, 1)
    assert epoch(made, 1) == epoch(sampler(songs, settings), 1)
    assert epoch(made, 1) != epoch(sampler(songs, settings, seed=2), 1)


def test_a_step_is_the_same_wherever_the_epoch_was_entered(songs, new_settings):
    settings = new_settings(data={"repeats": 4})
    whole = [example for step in whole_epoch(sampler(songs, settings)) for example in step]
    entered = sampler(songs, settings).examples(0, 6)
    assert entered == whole[6 : 6 + len(entered)]


def test_crops_have_the_asked_length_and_short_songs_their_own_even_one(songs, new_settings):
    made = sampler(songs, new_settings(data={"crop_seconds": 2.0, "repeats": 20}))
    lengths = {example.name: example.frames for step in whole_epoch(made) for example in step}
    assert lengths == {"a": 50, "b": 50, "c": 50, "d": 30, "e": 50}
    starts = {example.start for step in whole_epoch(made) for example in step if example.name == "a"}
    assert min(starts) >= 0
    assert max(starts) <= 120 - 50
    assert len(starts) > 10


@pytest.mark.parametrize(("seconds", "frames"), [(60.0, 1500), (0.0, 0), (0.01, 2), (1.0, 24), (0.2, 4)])
def test_crops_are_whole_model_tokens(seconds, frames):
    assert crop_frames(seconds) == frames


def test_crop_zero_means_whole_songs(songs, new_settings):
    made = sampler(songs, new_settings(data={"crop_seconds": 0.0}))
    lengths = {example.name: example.frames for step in whole_epoch(made) for example in step}
    assert lengths == {"a": 120, "b": 120, "c": 80, "d": 30, "e": 90}


def test_micro_batches_mix_no_shapes_and_lose_no_example(songs, new_settings):
    made = sampler(songs, new_settings(data={"repeats": 4}, train={"batch_size": 3, "accumulation": 4}))
    step = made.examples(0, 0)
    groups = list(made.micro_batches(step))
    assert sorted(e.index for group in groups for e in group) == [e.index for e in step]
    for group in groups:
        assert len({(e.frames, e.tokens) for e in group}) == 1
        assert len(group) <= 3
    assert len(groups) < len(step)


def test_one_batch_of_unequal_shapes_has_the_mean_gradient_of_its_examples(songs, new_settings, new_trainer):
    """Grouping is a matter of memory: the optimizer must see the mean over all examples, whatever their shapes."""
    gradients: list[dict[str, torch.Tensor]] = []

    def keep_gradients(trainer) -> None:
        gradients.append({name: parameter.grad.clone() for name, parameter in trainer.parameters.items()})

    for batch_size, accumulation in ((1, 10), (10, 1), (2, 5)):
        trainer = new_trainer(
            new_settings(data={"repeats": 2}, train={"batch_size": batch_size, "accumulation": accumulation}), songs
        )
        trainer.optimizer.step = partial(keep_gradients, trainer)
        trainer.step()
    one_by_one = gradients[0]
    assert any(bool(gradient.abs().max() > 0) for gradient in one_by_one.values())
    for other in gradients[1:]:
        for name, gradient in one_by_one.items():
            assert torch.allclose(gradient, other[name], atol=1e-6), name


def test_conditions_are_dropped_at_the_set_rate(new_song, new_settings):
    songs = [new_song("a", 4, 2)]
    settings = new_settings(data={"repeats": 1000}, train={"condition_dropout": 0.15, "batch_size": 50})
    store = SongStore(songs, "ram", 0)
    made = Sampler(store, settings.data, settings.train, seed=1)
    collator = Collator(store, settings.train, seed=1, mu=-0.4, sigma=1.0)
    dropped: list[bool] = []
    levels: list[float] = []
    for epoch in range(4):
        for step in whole_epoch(made, epoch):
            for group in made.micro_batches(step):
                batch = collator.collate(group, CPU)
                dropped += batch.dropped.tolist()
                levels += batch.t.tolist()
    assert len(dropped) == 4000
    sigma = math.sqrt(0.15 * 0.85 / 4000)
    assert sum(dropped) / 4000 == pytest.approx(0.15, abs=4 * sigma)
    # Single draws from thousands of seeds must have the distribution of many draws from one.
    found = torch.quantile(torch.tensor(levels), torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95]))
    assert found.tolist() == pytest.approx((0.238, 0.401, 0.536, 0.670, 0.825), abs=0.02)


@pytest.mark.parametrize(("rate", "expected"), [(0.0, False), (1.0, True)])
def test_dropout_of_none_and_all_is_exact(new_song, new_settings, rate, expected):
    settings = new_settings(data={"repeats": 100}, train={"condition_dropout": rate, "batch_size": 64})
    store = SongStore([new_song("a", 4, 2)], "ram", 0)
    made = Sampler(store, settings.data, settings.train, seed=1)
    collator = Collator(store, settings.train, seed=1, mu=-0.4, sigma=1.0)
    assert set(collator.collate(made.examples(0, 0)[:64], CPU).dropped.tolist()) == {expected}


def test_a_crop_is_cut_from_the_song_it_names(songs, new_settings):
    store = SongStore(songs, "ram", 0)
    settings = new_settings()
    made = Sampler(store, settings.data, settings.train, seed=1)
    collator = Collator(store, settings.train, seed=1, mu=-0.4, sigma=1.0)
    example = made.examples(0, 0)[0]
    batch = collator.collate([example], CPU)
    song = next(song for song in songs if song.name == example.name)
    assert torch.equal(batch.x0[0], song.latents()[example.start : example.start + example.frames])
    assert torch.equal(batch.condition[0], song.condition())


def test_purposes_draw_independently():
    first = torch.rand(4, generator=generator(42, "noise", 0, 0))
    assert not torch.equal(first, torch.rand(4, generator=generator(42, "timestep", 0, 0)))
    assert not torch.equal(first, torch.rand(4, generator=generator(42, "noise", 0, 1)))
    assert torch.equal(first, torch.rand(4, generator=generator(42, "noise", 0, 0)))


def test_songs_wait_in_ram_only_if_they_fit(songs):
    everything = SongStore(songs, "ram", 0).kept_bytes
    assert SongStore(songs, "auto", 4 * everything + 4).in_ram
    assert not SongStore(songs, "auto", 4 * everything - 4).in_ram
    assert not SongStore(songs, "disk", 2**40).in_ram
    on_disk = SongStore(songs, "disk", 0)
    assert torch.equal(on_disk.get(2)[0], songs[2].latents())
    assert on_disk.shapes == SongStore(songs, "ram", 0).shapes


@pytest.mark.parametrize("song", [("empty", 1, 5, None), ("broken", 50, 5, math.nan)])
def test_a_damaged_song_is_named_before_training(new_song, song):
    with pytest.raises(DataError, match=song[0]):
        SongStore([new_song("fine", 50, 5), new_song(*song)], "auto", 2**30)


def test_steps_left_counts_from_anywhere(songs, new_settings):
    made = sampler(songs, new_settings(train={"batch_size": 2, "accumulation": 1}))
    assert made.steps_left(0, 0, 4) == 12
    assert made.steps_left(1, 2, 4) == 2 + 6
    assert made.steps_left(3, 4, 4) == 1
    assert made.steps_left(4, 0, 4) == 0


# Altered copies


@pytest.fixture
def with_copies(songs, new_song):
    """The same songs, the first two with altered copies of other lengths."""
    songs[0] = dataclasses.replace(songs[0], takes=(new_song("a1", 110, 10), new_song("a2", 130, 9)), repeats=40)
    songs[1] = dataclasses.replace(songs[1], takes=(new_song("b1", 100, 8),))
    return songs


def test_songs_without_copies_draw_as_ever(songs, new_settings):
    """Written down: a run that was begun before there were copies goes on with the same crops."""
    settings = new_settings(data={"repeats": 2}, train={"batch_size": 2, "accumulation": 2})
    made = sampler(songs, settings, seed=7)
    heard = [(example.name, example.start) for step in whole_epoch(made, 1) for example in step]
    assert heard == [
        *(("e", 6), ("b", 3), ("c", 24), ("a", 37), ("d", 1)),
        *(("d", 1), ("c", 25), ("b", 35), ("a", 13), ("e", 3)),
    ]


def test_a_visit_hears_the_song_or_one_of_its_copies(with_copies, new_settings):
    made = sampler(with_copies, new_settings())
    heard = Counter(example.name for epoch in range(10) for step in whole_epoch(made, epoch) for example in step)
    assert made.examples_per_epoch == 44
    assert heard["a"] + heard["a1"] + heard["a2"] == 400
    assert min(heard["a"], heard["a1"], heard["a2"]) > 100
    assert heard["b"] + heard["b1"] == heard["c"] == heard["d"] == 10
    assert heard["b"]
    assert heard["b1"]


def test_a_crop_of_a_copy_is_cut_from_the_copy(with_copies, new_settings):
    store = SongStore(with_copies, "ram", 0)
    settings = new_settings(data={"crop_seconds": 0.0})
    made = Sampler(store, settings.data, settings.train, seed=1)
    collator = Collator(store, settings.train, seed=1, mu=-0.4, sigma=1.0)
    examples = {example.name: example for step in whole_epoch(made) for example in step}
    for copy in with_copies[0].takes:
        example = examples[copy.name]
        assert (example.frames, example.tokens) == (copy.frames, copy.tokens)
        batch = collator.collate([example], CPU)
        assert torch.equal(batch.x0[0], copy.latents())
        assert torch.equal(batch.condition[0], copy.condition())


def test_copies_are_drawn_the_same_wherever_the_epoch_was_entered(with_copies, new_settings):
    settings = new_settings()
    whole = [example for step in whole_epoch(sampler(with_copies, settings), 3) for example in step]
    entered = sampler(with_copies, settings).examples(3, 20)
    assert entered == whole[20 : 20 + len(entered)]
    assert whole != [example for step in whole_epoch(sampler(with_copies, settings, seed=2), 3) for example in step]


def test_copies_change_neither_order_nor_other_songs_draws(with_copies, new_settings):
    settings = new_settings()
    plain = [dataclasses.replace(song, takes=()) for song in with_copies]
    one = [example for step in whole_epoch(sampler(plain, settings)) for example in step]
    other = [example for step in whole_epoch(sampler(with_copies, settings)) for example in step]
    assert [example.name for example in one] == [example.name[:1] for example in other]
    assert [example for example in one if example.name in "cde"] == [ex for ex in other if ex.name in "cde"]


def test_copies_count_in_ram(with_copies):
    plain = [dataclasses.replace(song, takes=()) for song in with_copies]
    copies = [copy for song in with_copies for copy in song.takes]
    sizes = [SongStore(some, "ram", 0).kept_bytes for some in (with_copies, plain, copies)]
    assert sizes[0] == sizes[1] + sizes[2]
