"""All settings of a run, as one value."""

from __future__ import annotations

from sidestep_tui.schema.adapter import AdapterSettings
from sidestep_tui.schema.data import DataSettings
from sidestep_tui.schema.memory import MemorySettings
from sidestep_tui.schema.meta import Group
from sidestep_tui.schema.model import ModelSettings
from sidestep_tui.schema.optim import OptimSettings
from sidestep_tui.schema.output import OutputSettings
from sidestep_tui.schema.speed import SpeedSettings
from sidestep_tui.schema.train import TrainSettings


class Settings(Group):
    """A fully resolved run. Every default of the product is written in these groups and nowhere else."""

    model: ModelSettings = ModelSettings()
    data: DataSettings = DataSettings()
    adapter: AdapterSettings = AdapterSettings()
    optim: OptimSettings = OptimSettings()
    train: TrainSettings = TrainSettings()
    memory: MemorySettings = MemorySettings()
    speed: SpeedSettings = SpeedSettings()
    output: OutputSettings = OutputSettings()
