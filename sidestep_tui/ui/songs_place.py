"""What the screens about songs need to know: the folder, and the settings that decide what the model reads of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sidestep_tui.core import paths
from sidestep_tui.dataset.captions import TagPosition
from sidestep_tui.dataset.prompts import DurationText
from sidestep_tui.dataset.sidecars import TxtSetting

if TYPE_CHECKING:
    from sidestep_tui.schema.data import DataSettings


@dataclass(frozen=True, slots=True)
class SongsPlace:
    """A folder of songs as one draft sees it."""

    root: Path
    txt_role: TxtSetting = "auto"
    language: str = "unknown"
    tag: str = ""
    tag_position: TagPosition = "prepend"
    crop_seconds: float = 60.0
    max_duration: float = 240.0
    duration_text: DurationText = "song"
    model: Path | None = None
    """The checkpoint whose tokenizer counts; None counts nothing."""
    repeats: int = 1
    """How often each song is visited in an epoch, on top of what it says itself."""
    genre_ratio: int = 0
    """Percent of the songs that are described by their genre."""
    validation: int = 0
    """Percent of the songs that are held out of training."""

    @classmethod
    def of(cls, data: DataSettings, model: Path | None = None) -> SongsPlace:
        """The folder that a run of these settings trains on, read as the run reads it."""
        return cls(
            root=paths.expand(data.path).absolute(),
            txt_role=data.txt_role,
            language=data.language,
            tag=data.tag,
            tag_position=data.tag_position,
            crop_seconds=data.crop_seconds,
            max_duration=data.max_duration,
            duration_text=data.duration_text,
            model=model,
            repeats=data.repeats,
            genre_ratio=data.genre_ratio,
            validation=data.validation,
        )
