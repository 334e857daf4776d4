"""What the screens about songs need to know: the folder, and the settings that decide what the model reads of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sidestep_tui.dataset.captions import TagPosition
from sidestep_tui.dataset.prompts import DurationText
from sidestep_tui.dataset.sidecars import TxtSetting


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
