"""Advice across fields: what is contradictory, what will not do what it says, what usually works better.

Pure: settings and facts in, advice out. A rule is a function that yields Advice; RULES lists them. Facts that are not
known are None, and a rule that needs them stays silent.
"""

from __future__ import annotations

from collections.abc import Iterator

from sidestep_tui.core import text
from sidestep_tui.schema import adapter_targets, rules_adapter, rules_optim, rules_output, rules_speed, rules_train
from sidestep_tui.schema.adapter_maths import has_scale, scale
from sidestep_tui.schema.advice import Advice as Advice
from sidestep_tui.schema.advice import Facts as Facts
from sidestep_tui.schema.advice import Rule, Severity, fix_of
from sidestep_tui.schema.fields import format_number
from sidestep_tui.schema.plan_maths import epochs_for, run_steps
from sidestep_tui.schema.settings import Settings

_ORDER: dict[Severity, int] = {"error": 0, "warning": 1, "advice": 2}

_GIB = 1024**3


def check(settings: Settings, facts: Facts | None = None) -> list[Advice]:
    """All advice, errors first. An error means that the run cannot do what it says and should not start."""
    known = facts or Facts()
    found = [advice for rule in RULES for advice in rule(settings, known)]
    return sorted(found, key=lambda advice: _ORDER[advice.severity])


def missing(settings: Settings) -> list[Advice]:
    """What a run cannot start without and a preset never holds: the checkpoint and the songs."""
    found: list[Advice] = []
    if not settings.model.path:
        found.append(Advice("error", "model.path", "No checkpoint is chosen."))
    if not settings.data.path:
        found.append(Advice("error", "data.path", "No folder of songs is chosen."))
    return found


def scale_sentence(settings: Settings) -> str:
    """How strongly the adapter acts, in one line: `The change is scaled by 2 (alpha 128 / rank 64).`"""
    adapter = settings.adapter
    if not has_scale(adapter):
        return "The change is taken as it is: alpha and rank have no say."
    below = f"√{adapter.rank}" if adapter.rslora else f"rank {adapter.rank}"
    least, most = adapter_targets.scale_range(adapter)
    if least != most:
        return f"The change is scaled by {text.number(least, 3)} to {text.number(most, 3)}, as the patterns say."
    return f"The change is scaled by {text.number(scale(adapter), 3)} (alpha {format_number(adapter.alpha)} / {below})."


def _best_never_looked_for(settings: Settings, facts: Facts) -> Iterator[Advice]:
    train = settings.train
    if train.best_after < train.epochs:
        return
    start = train.epochs // 2
    yield Advice(
        "error",
        "train.best_after",
        f"The best adapter is looked for from epoch {train.best_after}, but the run ends at epoch {train.epochs}: "
        "there would never be one.",
        **fix_of(f"Look from epoch {start}", train__best_after=start),
    )


def _patience_never_ends(settings: Settings, facts: Facts) -> Iterator[Advice]:
    train = settings.train
    if not train.patience or train.best_after >= train.epochs or train.best_after + train.patience < train.epochs:
        return
    yield Advice(
        "warning",
        "train.patience",
        f"Stopping early can never happen: epoch {train.best_after} plus {train.patience} epochs of patience lie "
        f"behind the last of {train.epochs} epochs.",
        **fix_of("Do not stop early", train__patience=0),
    )


def _nothing_to_train(settings: Settings, facts: Facts) -> Iterator[Advice]:
    adapter = settings.adapter
    if adapter.attention == "none" and not adapter.mlp:
        yield Advice(
            "error",
            "adapter.attention",
            "Nothing would be trained: neither attention nor the MLP layers are chosen.",
            **fix_of("Train both attentions", adapter__attention="both"),
        )


def _projections_unused(settings: Settings, facts: Facts) -> Iterator[Advice]:
    if settings.adapter.attention == "none" and settings.adapter.mlp and len(settings.adapter.projections) < 4:
        yield Advice(
            "advice", "adapter.projections", "The choice of projections has no effect while no attention is trained."
        )


def _extreme_scale(settings: Settings, facts: Facts) -> Iterator[Advice]:
    adapter = settings.adapter
    strength = scale(adapter)
    # rsLoRA with alpha 32 gives 32/√r: 4 at rank 64, 8 at rank 16. The bounds leave all recipes in use alone.
    high, low = (16.0, 0.5) if adapter.rslora else (4.0, 0.125)
    if low <= strength <= high or not has_scale(adapter):
        return
    usual = float(adapter.rank * 2) if not adapter.rslora else 32.0
    effect = "learn little" if strength < low else "act like a far higher learning rate and may diverge"
    label = f"Set alpha to {format_number(usual)}"
    yield Advice(
        "warning",
        "adapter.alpha",
        f"{scale_sentence(settings)} The adapter would {effect}.",
        **fix_of(label, adapter__alpha=usual),
    )


def _warmup_too_long(settings: Settings, facts: Facts) -> Iterator[Advice]:
    warmup = settings.optim.warmup_steps
    total = run_steps(settings, songs=facts.songs, steps_per_epoch=facts.steps_per_epoch)
    if total is None or warmup * 10 <= total:
        return
    better = total // 10
    share = f"{text.thousands(warmup)} of {text.plural(total, 'step')}"
    if warmup >= total:
        sentence = f"The run ends inside its warm-up ({share}): the learning rate never reaches its peak."
    else:
        sentence = f"Warm-up takes {share}, {round(100 * warmup / total)} % of the run; a tenth is enough."
    severity: Severity = "warning" if warmup * 2 > total else "advice"
    label = f"Warm up for {text.plural(better, 'step')}"
    yield Advice(severity, "optim.warmup_steps", sentence, **fix_of(label, optim__warmup_steps=better))


def _crowded_gpu(settings: Settings, facts: Facts) -> Iterator[Advice]:
    if facts.vram_bytes is None or facts.device == "cpu":
        return
    adapter, memory = settings.adapter, settings.memory
    if facts.vram_bytes < 9 * _GIB and adapter.mlp and adapter.rank >= 64:
        yield Advice(
            "warning",
            "adapter.mlp",
            f"MLP layers at rank {adapter.rank} are a lot for {text.gibibytes(facts.vram_bytes)} of GPU memory.",
            **fix_of("Train attention only", adapter__mlp=False),
        )
    if facts.vram_bytes < 13 * _GIB and adapter.dropout > 0 and not memory.recomputes:
        yield Advice(
            "advice",
            "adapter.dropout",
            "Dropout keeps a copy and a mask of every input: about a third more activation memory.",
            **fix_of("Train without dropout", adapter__dropout=0.0),
        )


def _batches_of_whole_songs(settings: Settings, facts: Facts) -> Iterator[Advice]:
    train = settings.train
    if settings.data.crop_seconds == 0 and train.batch_size > 1:
        together = train.batch_size * train.accumulation
        yield Advice(
            "error",
            "train.batch_size",
            "Whole songs differ in length and go one at a time; batches need crops of one length.",
            **fix_of(
                f"Batch 1, accumulation {min(together, 256)}",
                train__batch_size=1,
                train__accumulation=min(together, 256),
            ),
        )


def _crop_and_songs(settings: Settings, facts: Facts) -> Iterator[Advice]:
    crop, longest = settings.data.crop_seconds, facts.longest_seconds
    if longest is not None and 0 < longest < crop:
        # Down to a multiple of ten seconds, so that the form shows a round number.
        better = float(int(longest // 10 * 10)) or float(max(1, int(longest)))
        yield Advice(
            "advice",
            "data.crop_seconds",
            f"The crop of {format_number(crop)} s is longer than the longest song ({format_number(round(longest))} s): "
            "every example is a whole song.",
            **fix_of(f"Crop {format_number(better)} s", data__crop_seconds=better),
        )
    if crop > settings.data.max_duration:
        yield Advice(
            "warning",
            "data.crop_seconds",
            f"The crop of {format_number(crop)} s is longer than songs are kept "
            f"({format_number(settings.data.max_duration)} s).",
            **fix_of("Keep songs that long", data__max_duration=crop),
        )


def _tag(settings: Settings, facts: Facts) -> Iterator[Advice]:
    data = settings.data
    if data.tag_position != "replace":
        return
    if not data.tag:
        yield Advice(
            "error",
            "data.tag",
            "The tag is to replace every caption, but there is no tag: the captions would be empty.",
            **fix_of("Keep the captions", data__tag_position="prepend"),
        )
    else:
        yield Advice(
            "advice",
            "data.tag_position",
            "The tag replaces the captions: the adapter will not learn to follow descriptions.",
            **fix_of("Put it before the caption", data__tag_position="prepend"),
        )


def _copies_like_the_song(settings: Settings, facts: Facts) -> Iterator[Advice]:
    data = settings.data
    if data.variants and not (data.pitch or data.stretch or data.noise):
        yield Advice(
            "error",
            "data.variants",
            "Nothing would be altered in the altered copies: pitch, tempo and noise are all left alone.",
            **fix_of("Make no copies", data__variants=0),
        )


def _short_prompts(settings: Settings, facts: Facts) -> Iterator[Advice]:
    share = settings.data.genre_ratio
    if share:
        yield Advice(
            "advice",
            "data.genre_ratio",
            f"{share} % of the songs would lose their captions to their genre; the makers of the model advise 0.",
            **fix_of("Use every caption", data__genre_ratio=0),
        )


def _epochs_for_songs(settings: Settings, facts: Facts) -> Iterator[Advice]:
    if not facts.songs or settings.train.max_steps:
        return
    few, usual, many = epochs_for(facts.songs * settings.data.repeats)
    epochs = settings.train.epochs
    songs = text.plural(facts.songs, "song")
    seen = text.thousands(epochs * settings.data.repeats)
    if epochs < few:
        yield Advice(
            "advice",
            "train.epochs",
            f"With {songs}, {usual} epochs are usual; {epochs} show each song {seen} times and may learn little.",
            **fix_of(f"Train {usual} epochs", train__epochs=usual),
        )
    elif epochs > many:
        yield Advice(
            "advice",
            "train.epochs",
            f"With {songs}, {usual} epochs are usual; {epochs} show each song {seen} times and may memorise them.",
            **fix_of(f"Train {usual} epochs", train__epochs=usual),
        )


def _optimizer_and_machine(settings: Settings, facts: Facts) -> Iterator[Advice]:
    if settings.optim.optimizer != "adamw8bit":
        return
    fix = fix_of("Use AdamW", optim__optimizer="adamw")
    if facts.macos or facts.device == "mps":
        sentence = "8-bit AdamW needs bitsandbytes, which is not there on macOS."
        yield Advice("error", "optim.optimizer", sentence, **fix)
    elif facts.device == "cpu":
        sentence = "8-bit AdamW saves GPU memory; on a CPU it only costs precision."
        yield Advice("advice", "optim.optimizer", sentence, **fix)


def _odd_learning_rate(settings: Settings, facts: Facts) -> Iterator[Advice]:
    lr = settings.optim.lr
    if settings.optim.optimizer == "prodigy":
        return
    if lr > 1e-3:
        sentence = f"A learning rate of {format_number(lr)} usually diverges; 1e-4 is a safe start."
        yield Advice("warning", "optim.lr", sentence, **fix_of("Set it to 1e-4", optim__lr=1e-4))
    elif lr < 5e-6:
        sentence = f"A learning rate of {format_number(lr)} learns next to nothing; 1e-4 is a safe start."
        yield Advice("advice", "optim.lr", sentence, **fix_of("Set it to 1e-4", optim__lr=1e-4))


def _no_guidance(settings: Settings, facts: Facts) -> Iterator[Advice]:
    dropout = settings.train.condition_dropout
    if dropout > 0.5:
        yield Advice(
            "warning",
            "train.condition_dropout",
            f"{round(dropout * 100)} % of the examples would be trained without caption and lyrics.",
            **fix_of("Set it to 0.15", train__condition_dropout=0.15),
        )


RULES: tuple[Rule, ...] = (
    _nothing_to_train,
    _batches_of_whole_songs,
    _tag,
    _copies_like_the_song,
    _optimizer_and_machine,
    _best_never_looked_for,
    _patience_never_ends,
    _extreme_scale,
    _odd_learning_rate,
    _warmup_too_long,
    _epochs_for_songs,
    _crop_and_songs,
    _crowded_gpu,
    _no_guidance,
    _short_prompts,
    _projections_unused,
    *rules_output.RULES,
    *rules_adapter.RULES,
    *rules_optim.RULES,
    *rules_train.RULES,
    *rules_speed.RULES,
)
