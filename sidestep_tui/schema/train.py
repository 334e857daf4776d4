"""Settings of the training loop and its objective."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sidestep_tui.schema.meta import Group, Meta


class TrainSettings(Group):
    """How long to train, on what, and when to call a result the best."""

    epochs: Annotated[int, Field(ge=1, le=100_000), Meta("epochs", step=10, costs=("time",))] = 100
    """Passes over all songs. Small sets need many (10 to 20 songs: several hundred), large ones few. Every
    checkpoint is a usable adapter, so stopping early loses nothing."""

    max_steps: Annotated[
        int,
        Field(ge=0, le=10_000_000),
        Meta("step limit", level="advanced", step=100, costs=("time",), zero_means="no limit"),
    ] = 0
    """Stop after this many optimizer steps, even inside an epoch; the schedule ends there too. 0 runs all epochs."""

    batch_size: Annotated[int, Field(ge=1, le=64), Meta("batch size", bump="double", costs=("memory", "time"))] = 1
    """Crops computed together. More is faster per song while it fits; memory grows with it."""

    accumulation: Annotated[int, Field(ge=1, le=256), Meta("accumulation", bump="double", costs=("time",))] = 4
    """Batches summed into one optimizer step. Batch size times accumulation is what the optimizer sees; raising it
    smooths the loss at no cost in memory."""

    seed: Annotated[int, Field(ge=-1, le=2**31 - 1), Meta("seed", level="advanced")] = 42
    """Start of all randomness: the same seed, settings and data give the same adapter. -1 draws one and records
    it."""

    timesteps: Annotated[
        Literal["model", "logit_normal", "uniform", "turbo8"],
        Meta("noise levels", level="expert", costs=("quality",)),
    ] = "model"
    """How noise levels are drawn. `model` is what ACE-Step itself was trained with (the larger of two logit-normal
    draws); `logit_normal` draws one, which hears more of the fine detail; `uniform` hears all levels alike; `turbo8`
    visits only the eight levels that turbo samples with."""

    timestep_sigma: Annotated[
        float,
        Field(ge=0, le=5),
        Meta("noise spread", level="expert", step=0.1, costs=("quality",), zero_means="the model's own"),
    ] = 0.0
    """Sigma of the logit-normal draws, in place of the model's own (1). Larger reaches both ends, silence and pure
    noise, more often. 0 takes sigma and mu from the model's configuration."""

    timestep_mu: Annotated[
        float, Field(ge=-5, le=5), Meta("noise centre", level="expert", step=0.1, costs=("quality",))
    ] = -0.4
    """Mu of the logit-normal draws: higher trains more on noise, where form and rhythm arise, lower more on fine
    detail. Used only with a noise spread; without, the model's own counts (-0.4)."""

    condition_dropout: Annotated[
        float, Field(ge=0, le=1), Meta("condition dropout", level="advanced", step=0.05, costs=("quality",))
    ] = 0.15
    """Share of examples trained without caption and lyrics, so that guidance keeps working. The model's own value is
    0.15."""

    loss: Annotated[Literal["mse", "huber"], Meta("loss", level="expert", costs=("quality",))] = "mse"
    """`mse` squares every error, as the model was trained; `huber` squares small ones and counts large ones in
    proportion, so that clicks and other outliers pull less."""

    huber_delta: Annotated[
        float, Field(gt=0, le=100), Meta("Huber delta", level="expert", step=0.1, costs=("quality",))
    ] = 1.0
    """From this error on, in units of the latents (about 1 is usual), Huber no longer squares; without effect on
    `mse`."""

    loss_weighting: Annotated[
        Literal["none", "min_snr"], Meta("loss weighting", level="advanced", costs=("quality",))
    ] = "none"
    """`min_snr` weighs down the noise levels that are easy to learn; `none` weighs all alike, as the model was
    trained."""

    snr_gamma: Annotated[float, Field(gt=0, le=100), Meta("min-SNR gamma", level="expert", step=0.5)] = 5.0
    """Cap of the min-SNR weighting; without effect when the weighting is `none`."""

    best_by: Annotated[Literal["auto", "training", "held_out"], Meta("best by", level="advanced")] = "auto"
    """Which loss decides about the best adapter and about stopping early. `training` is the mean of five epochs, which
    also falls while songs are learnt by heart; `held_out` is that of the held-out songs, which then rises. `auto` takes
    the held-out songs where there are any."""

    best_after: Annotated[int, Field(ge=0, le=100_000), Meta("best from epoch", level="advanced", step=10)] = 50
    """The best adapter is looked for from this epoch on: the loss must fall by 0.001. Must lie before the last epoch,
    or there will never be a best."""

    patience: Annotated[
        int,
        Field(ge=0, le=100_000),
        Meta("patience", level="advanced", unit="epochs", step=10, costs=("time",), zero_means="never stop early"),
    ] = 0
    """Stop when this many epochs brought no new best; 80 is a patient choice for several hundred epochs. 0 never stops
    early."""

    ema_decay: Annotated[
        float,
        Field(ge=0, lt=1),
        Meta("EMA decay", level="expert", step=0.001, costs=("memory", "quality"), zero_means="off"),
    ] = 0.0
    """Export and measure a moving average of the adapter instead of its last state: calmer, but behind by about
    1 / (1 - decay) steps. 0.99 to 0.999 are usual; costs 4 bytes per adapter weight. Checkpoints keep both; 0 is
    off."""

    rollbacks: Annotated[int, Field(ge=0, le=100), Meta("rollbacks", level="expert", zero_means="give up at once")] = 2
    """How often the run may go back to its last good checkpoint when the loss stops being a number for five steps in
    a row, before it ends as diverged. What was learnt since that checkpoint is lost; save often."""

    rollback_lr: Annotated[
        float, Field(gt=0, le=1), Meta("LR after rollback", level="expert", step=0.1, costs=("quality",))
    ] = 0.5
    """The learning rate is multiplied by this each time the run goes back. 1 leaves it, and the same may happen
    again."""

    validate_every: Annotated[
        int,
        Field(ge=1, le=1000),
        Meta("validation every", level="expert", unit="epochs", costs=("time",)),
    ] = 1
    """How often the held-out songs are measured, besides the start and the end; without effect when no song is held
    out."""
