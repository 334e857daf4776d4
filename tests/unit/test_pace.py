"""How long a run takes: the formula by hand, what is measured above what is published, and no number for strangers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from sidestep_tui.schema import activation_model, automatic, compute_model, gpu_table, pace
from sidestep_tui.schema.model_shape import SHAPE_2B, SHAPE_XL, ModelShape
from sidestep_tui.schema.pace import Measured, Pace
from sidestep_tui.schema.settings import Settings


@dataclass(frozen=True)
class Gpu:
    name: str = "NVIDIA GeForce RTX 3090"
    kind: str = "cuda"


def settings(**groups: dict[str, Any]) -> Settings:
    """60 s crops, rank 64 on the attention, one crop a step, everything kept, nothing compiled."""
    base: dict[str, dict[str, Any]] = {
        "data": {"crop_seconds": 60.0},
        "adapter": {"rank": 64, "mlp": False, "dropout": 0.0},
        "train": {"batch_size": 1, "accumulation": 1},
        "memory": {"gradient_checkpointing": "off"},
        "speed": {"compile": "off"},
    }
    return Settings.model_validate(
        {**base, **{name: {**base.get(name, {}), **values} for name, values in groups.items()}}
    )


def step(asked: Settings, gpu: Gpu | None = None, **options: Any) -> float:
    found = pace.estimate(asked, SHAPE_2B, gpu or Gpu(), **options).seconds_per_step
    assert found is not None
    return found


def test_a_step_is_arithmetic_and_memory_traffic_by_hand() -> None:
    asked = settings()
    # ENGINE.md §1.1: 5.42 TFLOP a sample; 71 TFLOP/s published, 0.6 of it reached, 750 of 750 + 350 tokens of fill.
    counted = compute_model.flops(SHAPE_2B, asked, checkpointing=False).total
    assert counted == pytest.approx(5.42e12, rel=0.01)
    arithmetic = counted / (71.0e12 * 0.6 * 750 / 1100)
    kept = activation_model.kept(SHAPE_2B, asked, condition_tokens=1024, tokens=750, width=2.0, attention="flash").total
    traffic = 10.0 * kept / (936e9 * 0.8)
    assert step(asked) == pytest.approx(arithmetic + traffic, rel=1e-9)
    assert 0.15 < step(asked) < 0.25  # ENGINE.md: 150 ms busy at best, 153 ms at 50 % of the rate


@pytest.mark.parametrize(
    ("shape", "seconds", "name", "kept", "recomputed"),
    [
        (SHAPE_2B, 60.0, "RTX 3090", 153, 227),
        (SHAPE_2B, 60.0, "RTX 4090", 66, 98),
        (SHAPE_2B, 60.0, "H200", 14, 20),
        (SHAPE_2B, 240.0, "RTX 4090", 282, 408),
        (SHAPE_XL, 60.0, "RTX 3090", 409, 604),
        (SHAPE_XL, 240.0, "RTX 3090", 1774, 2574),
    ],
)
def test_compiled_batches_of_four_come_near_half_of_the_rate(
    shape: ModelShape, seconds: float, name: str, kept: int, recomputed: int
) -> None:
    """ENGINE.md §1.1: milliseconds a sample at a utilisation of 50 %, without and with full recomputing."""
    for checkpointing, expected in (("off", kept), ("on", recomputed)):
        asked = settings(
            data={"crop_seconds": seconds},
            train={"batch_size": 4},
            memory={"gradient_checkpointing": checkpointing},
            speed={"compile": "on"},
        )
        found = pace.estimate(asked, shape, Gpu(name)).seconds_per_step
        assert found is not None
        assert 1000 * found / 4 == pytest.approx(expected, rel=0.13)


def test_recomputing_does_the_forward_pass_again() -> None:
    counted = compute_model.flops(SHAPE_2B, settings(), checkpointing=True)
    ratio = step(settings(memory={"gradient_checkpointing": "on"})) / step(settings())
    assert ratio == pytest.approx(counted.total / counted.useful, abs=0.03)


def test_accumulation_repeats_the_pass_and_batches_fill_the_gpu() -> None:
    one = step(settings())
    assert step(settings(train={"accumulation": 4})) == pytest.approx(4 * one)
    assert step(settings(train={"batch_size": 4})) < 3.5 * one


def test_a_fast_gpu_waits_for_the_processor() -> None:
    asked = settings()
    assert step(asked, Gpu("NVIDIA H200")) == pytest.approx(24 * 0.0019)
    recomputing = settings(memory={"gradient_checkpointing": "on"}, speed={"compile": "on"})
    assert step(recomputing, Gpu("NVIDIA H200")) == pytest.approx(24 * 0.0009 * 2.4)


def test_a_quantised_base_is_slower_and_compiling_faster() -> None:
    one = step(settings())
    int8, nf4 = (step(settings(memory={"base": base, "gradient_checkpointing": "off"})) for base in ("int8", "nf4"))
    assert one < int8 < nf4 < 1.4 * one
    assert int8 - one == pytest.approx(2 * 3.0 * SHAPE_2B.linear_parameters / (936e9 * 0.8))
    assert step(settings(speed={"compile": "on"})) < one


def test_an_activation_budget_lies_between_keeping_and_recomputing() -> None:
    def at(budget: float) -> float:
        return step(settings(speed={"compile": "on", "activation_budget": budget}))

    assert at(1.0) < at(0.5) < at(0.0)


def test_songs_are_heard_for_no_longer_than_they_last() -> None:
    whole = settings(data={"crop_seconds": 0.0, "max_duration": 240.0})
    half = settings(data={"crop_seconds": 0.0, "max_duration": 120.0})
    assert step(whole, lengths=[60.0, 180.0]) == step(half)
    assert step(settings(), lengths=[30.0, 600.0]) == step(settings(data={"crop_seconds": 45.0}))
    before = Measured("drums-1121", 0.5, settings())
    assert step(settings(), lengths=[7.0], measured=before) == 0.5


def test_what_was_measured_here_counts_more_than_what_is_published() -> None:
    before = Measured("drums-1121", 0.5, settings())
    same = pace.estimate(settings(), SHAPE_2B, Gpu(), steps=100, measured=before)
    assert same.seconds_per_step == pytest.approx(0.5)
    assert same.basis == "as measured in drums-1121"
    assert same.total_seconds == pytest.approx(50)
    twice = pace.estimate(settings(train={"accumulation": 2}), SHAPE_2B, Gpu(), measured=before)
    assert twice.seconds_per_step == pytest.approx(1.0)
    # By operations alone where the device has no published rate.
    cpu = Gpu("this computer's CPU", kind="cpu")
    longer = pace.estimate(settings(data={"crop_seconds": 120.0}), SHAPE_2B, cpu, measured=before)
    assert longer.seconds_per_step == pytest.approx(0.5 * 10.97 / 5.42, rel=0.02)


@pytest.mark.parametrize(
    ("device", "words"),
    [
        (Gpu("this computer's CPU", kind="cpu"), "processors"),
        (Gpu("NVIDIA GeForce GTX 1070"), "GTX 1070"),
        (Gpu("NVIDIA GeForce RTX 4090 Laptop GPU"), "Laptop"),
        (None, "device"),
    ],
)
def test_strangers_get_no_number(device: Gpu | None, words: str) -> None:
    found = pace.estimate(settings(), SHAPE_XL, device, steps=100)
    assert found.seconds_per_step is None
    assert found.total_seconds is None
    assert found.short == found.range == ""
    assert found.basis.startswith("no estimate")
    assert words in found.basis


def test_float32_on_a_gpu_has_no_estimate() -> None:
    assert pace.estimate(settings(memory={"precision": "float32"}), SHAPE_2B, Gpu()).seconds_per_step is None


@pytest.mark.parametrize(
    ("name", "card"),
    [
        ("NVIDIA GeForce RTX 3060", "RTX 3060"),
        ("NVIDIA GeForce RTX 3060 Ti", "RTX 3060 Ti"),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", "RTX 4070 Ti Super"),
        ("NVIDIA A100-SXM4-40GB", "A100"),
        ("NVIDIA A100-SXM4-80GB", "A100 80GB"),
        ("NVIDIA A100 80GB PCIe", "A100 80GB"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("Tesla V100-SXM2-16GB", "V100"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada"),
        ("NVIDIA RTX A6000", "RTX A6000"),
        ("AMD Instinct MI300X", "MI300X"),
        ("Apple M2", "Apple M2"),
    ],
)
def test_cards_are_known_by_the_drivers_names(name: str, card: str) -> None:
    found = gpu_table.find(name)
    assert found is not None
    assert found.name == card


@pytest.mark.parametrize(
    "name", ["Quadro RTX 6000", "NVIDIA A100-SXM4-40GB MIG 1g.5gb", "NVIDIA RTX 2080 with Max-Q Design"]
)
def test_a_name_that_is_almost_known_is_not(name: str) -> None:
    assert gpu_table.find(name) is None


@pytest.mark.parametrize(("words", "card"), [("4090", "RTX 4090"), ("a100-80", "A100 80GB"), ("h200", "H200")])
def test_people_type_less(words: str, card: str) -> None:
    found = gpu_table.asked(words)
    assert found is not None
    assert found.name == card
    assert gpu_table.asked("voodoo") is None


@pytest.mark.parametrize(
    ("total", "words"),
    [
        (20, "under a minute"),
        (130, "about 2 min"),
        (33 * 60, "about 35 min"),
        (2.2 * 3600, "about 2 h"),
        (2.4 * 3600, "about 2.5 h"),
        (19.6 * 3600, "about 20 h"),
        (60 * 3600, "about 2 days"),
    ],
)
def test_times_are_as_coarse_as_they_are_known(total: float, words: str) -> None:
    assert pace.about(total) == words


def test_a_range_says_its_unit_once() -> None:
    assert Pace(1.0, 10_800, "", spread=0.35).range == "2 to 4 h"
    assert Pace(1.0, 5400, "", spread=0.35).range == "60 min to 2 h"
    assert Pace(2.5, None, "").short == "2.5 s a step"


def test_auto_is_said_with_its_reason() -> None:
    asked = Settings.model_validate({"data": {"crop_seconds": 60.0}, "adapter": {"kind": "dora"}})
    found = automatic.answers(asked, Gpu("Tesla T4"), recomputes=True, where="cuda:0 Tesla T4", steps=4000)
    said = {answer.name: (answer.value, answer.why) for answer in found}
    assert said["precision"] == ("float16", "auto: it has no bfloat16")
    assert said["checkpointing"] == ("on", "auto: it would not fit without")
    assert said["compile"] == ("off", "auto: this adapter falls into pieces")
    assert said["device"][0] == "cuda:0 Tesla T4"
    lora = Settings.model_validate({"data": {"crop_seconds": 60.0}, "train": {"accumulation": 1}})
    assert automatic.compiles(lora, Gpu(), 500)
    assert not automatic.compiles(lora, Gpu(), 499)
    assert not automatic.compiles(lora, Gpu("Apple GPU", kind="mps"), 500)
