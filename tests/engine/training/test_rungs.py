"""Out of memory: what a run gives up, in which order, and that it learns the same all the same."""

from __future__ import annotations

import pytest
import torch

from sidestep_tui.core.errors import OutOfMemoryError
from sidestep_tui.engine import checkpoint, rungs
from sidestep_tui.engine.rungs import Relief
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.schema import memory_model
from sidestep_tui.schema.fit_ladder import HEADROOM
from sidestep_tui.schema.model_shape import model_shape
from tests.engine.training.adapting import provenance

CPU = torch.device("cpu")
MESSAGE = "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 23.64 GiB"


def four_together(new_settings, **memory):
    """One group of four equal examples a step, with dropout to see that its masks are drawn again."""
    return new_settings(
        data={"crop_seconds": 1.0, "repeats": 4},
        adapter={"dropout": 0.2},
        train={"batch_size": 4, "accumulation": 1},
        memory=memory,
    )


def run_short(trainer, until) -> None:
    """Have the model raise a real torch.OutOfMemoryError in its second layer, until `until(batch, recomputes)`."""

    def starve(module, args, output):
        batch = args[0].shape[0] if args else 1
        if not until(batch, trainer.transformer.is_gradient_checkpointing):
            raise torch.OutOfMemoryError(MESSAGE)

    trainer.transformer.layers[1].mlp.register_forward_hook(starve)


@pytest.fixture
def four(songs):
    return [song for song in songs if song.frames != 31 and song.tokens == 9] + [songs[0]]


def weights_after(trainer, steps: int) -> dict[str, torch.Tensor]:
    for _ in range(steps):
        trainer.step()
    return {name: parameter.detach().clone() for name, parameter in trainer.parameters.items()}


def test_a_step_is_repeated_with_less_at_once_and_learns_the_same_to_the_bit(new_trainer, new_settings, four):
    starved = new_trainer(four_together(new_settings), four)
    run_short(starved, until=lambda batch, recomputes: recomputes and batch <= 2)
    first = starved.step()
    assert [shortage.remedy.split(",")[0] for shortage in first.shortages] == [
        "It is repeated with activations recomputed",
        "It is repeated with 2 crops at once",
    ]
    assert "2.50 GiB were wanted" in first.shortages[0].numbers
    assert starved.relief == Relief(True, 2, starved.relief.under)
    second = starved.step()
    assert second.shortages == ()
    undisturbed = new_trainer(four_together(new_settings), four)
    undisturbed.relief = starved.relief
    rungs.apply(undisturbed.relief, undisturbed.transformer)
    expected = weights_after(undisturbed, 2)
    for name, parameter in starved.parameters.items():
        assert torch.equal(parameter, expected[name]), name


def test_the_gradient_of_halves_is_that_of_the_whole(new_trainer, new_settings, four):
    gradients = []
    for most in (0, 2, 3):
        settings = new_settings(data={"crop_seconds": 1.0}, train={"batch_size": 4, "accumulation": 1})
        trainer = new_trainer(settings, four)
        trainer.relief = Relief(micro_batch=most)
        trainer._learn(trainer._sampler.examples(0, 0))
        gradients.append({name: parameter.grad for name, parameter in trainer.parameters.items()})
    for other in gradients[1:]:
        for name, gradient in gradients[0].items():
            torch.testing.assert_close(other[name], gradient, rtol=1e-4, atol=1e-7)


def test_without_a_rung_left_or_leave_to_go_lower_the_run_ends_with_the_numbers(new_trainer, new_settings, four):
    starved = new_trainer(four_together(new_settings), four)
    before = {name: parameter.detach().clone() for name, parameter in starved.parameters.items()}
    run_short(starved, until=lambda batch, recomputes: False)
    with pytest.raises(OutOfMemoryError, match="Memory ran out") as caught:
        starved.step()
    assert int(caught.value.exit_code) == 5
    assert "2.50 GiB were wanted" in caught.value.message
    assert "memory.base" in caught.value.hint
    assert starved.relief.micro_batch == 1, "every rung was tried"
    assert all(torch.equal(parameter, before[name]) for name, parameter in starved.parameters.items())
    stopping = new_trainer(four_together(new_settings, on_oom="stop"), four)
    run_short(stopping, until=lambda batch, recomputes: recomputes)
    with pytest.raises(OutOfMemoryError):
        stopping.step()
    assert stopping.relief == rungs.start(stopping.settings)


def test_another_error_is_not_taken_for_a_shortage(new_trainer):
    trainer = new_trainer()

    def fail(module, args, output):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    trainer.transformer.layers[0].mlp.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="mat1"):
        trainer.step()


def test_a_resumed_run_keeps_its_rung_while_the_settings_are_the_same(new_trainer, new_settings, four, tmp_path):
    settings = four_together(new_settings)
    starved = new_trainer(settings, four)
    run_short(starved, until=lambda batch, recomputes: recomputes and batch <= 2)
    starved.step()
    run_dir = RunDir.create(tmp_path, "drums")
    directory = checkpoint.save(
        run_dir, starved.transformer, starved.optimizer, starved.state({}), settings, provenance()
    )
    state, numbers = checkpoint.read(directory)
    again = new_trainer(settings, four)
    again.restore(directory, state, numbers)
    assert again.relief == starved.relief
    assert again.transformer.is_gradient_checkpointing
    expected = weights_after(starved, 2)
    for name, value in weights_after(again, 2).items():
        assert torch.equal(value, expected[name]), name
    smaller = new_settings(data={"crop_seconds": 1.0}, train={"batch_size": 2, "accumulation": 2})
    assert rungs.resumed(state.relief, smaller) == rungs.start(smaller)


def test_auto_is_decided_by_what_is_free(new_settings, new_transformer, monkeypatch):
    config = dict(new_transformer().config)
    settings = new_settings(memory={"gradient_checkpointing": "auto"})
    off = new_settings()
    needed = memory_model.estimate(model_shape(config), off, base_bytes=4.0).total
    for free, expected in ((needed / HEADROOM + 1, "off"), (needed / HEADROOM - 1e6, "on")):
        monkeypatch.setattr(rungs, "free_bytes", lambda device, free=free: int(free))
        decided, sentence = rungs.settle(settings, config, CPU, torch.float32)
        assert decided.memory.gradient_checkpointing == expected
        assert f"is {expected}: by the estimate" in sentence
    assert rungs.settle(off, config, CPU, torch.float32)[0] is off
