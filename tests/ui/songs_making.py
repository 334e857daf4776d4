"""Songs that exist only as words, for tests of the songs screen: no audio is read, no child is started."""

from __future__ import annotations

import json
import wave
from pathlib import Path
from typing import Any

from sidestep_tui.dataset.manifest import Manifest, Skipped, Song
from sidestep_tui.dataset.measuring.measure import Measured
from sidestep_tui.dataset.merge import FILE_NAME, NO_LYRICS
from sidestep_tui.ui.app import SidestepApp
from sidestep_tui.ui.screens.songs.screen import SongsScreen
from sidestep_tui.ui.songs_place import SongsPlace
from tests.ui.conftest import make_app

_MOODS = ("warm analog synthwave, gated drums", "slow piano, brushed drums, rain", "industrial techno, distorted kick")
_KEYS = ("E minor", "C major", "F# minor", "")


def make_song(root: Path, number: int, **changes: Any) -> Song:
    """One of many songs: every third has no caption, every fourth no key, every second is sung."""
    name = f"song_{number:04d}"
    origin = f"{name}.json"
    key = _KEYS[number % 4]
    facts: dict[str, Any] = {
        "name": name,
        "audio": root / f"{name}.wav",
        "caption": _MOODS[number % 3] if number % 3 else name.replace("_", " "),
        "lyrics": f"[Verse]\nline {number}\nand another" if number % 2 else "[Instrumental]",
        "language": "en" if number % 2 else "unknown",
        "bpm": 90 + number % 60 if number % 5 else None,
        "keyscale": key,
        "instrumental": number % 2 == 0,
        "duration": 60.0 + number,
        "sample_rate": 48000,
        "channels": 2,
        "size": 1_000_000 + number,
        "origins": {
            "caption": origin if number % 3 else FILE_NAME,
            "lyrics": origin if number % 2 else NO_LYRICS,
            **({"instrumental": NO_LYRICS} if number % 2 == 0 else {"language": origin}),
            **({"bpm": origin} if number % 5 else {}),
            **({"keyscale": origin} if key else {}),
        },
    }
    return Song(**{**facts, **changes})


def heard(bpm: int, bpm_confidence: float, key: str, key_confidence: float) -> Measured:
    """A measurement."""
    return Measured("", bpm, float(bpm), bpm_confidence, None, key, key_confidence)


def make_manifest(root: Path, count: int) -> Manifest:
    """A folder of songs, and one file that is none."""
    songs = tuple(make_song(root, number) for number in range(count))
    return Manifest(root, songs, (Skipped(Path("broken.flac"), "is empty (0 bytes)."),), "none")


def songs_app(manifest: Manifest, monkeypatch: Any, *, ascii_only: bool = False, **place: Any) -> SidestepApp:
    """The app at the songs of a manifest that the scan is made to find."""
    monkeypatch.setattr("sidestep_tui.dataset.apart.scan_apart", lambda *_: manifest)
    return app_at(SongsPlace(manifest.root, **place), ascii_only=ascii_only)


def app_at(place: SongsPlace, *, ascii_only: bool = False) -> SidestepApp:
    """The app at the songs of a folder, as `dataset edit` opens it."""
    return make_app(songs=place, ascii_only=ascii_only)


def songs_screen(app: Any) -> SongsScreen:
    """The songs screen, also beneath a dialog."""
    return next(screen for screen in app.screen_stack if isinstance(screen, SongsScreen))


def write_wav(path: Path, seconds: float = 0.2) -> None:
    """A short silence."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(8000)
        file.writeframes(b"\x80" * int(8000 * seconds))


def write_folder(folder: Path, songs: dict[str, dict[str, Any]]) -> Path:
    """Real songs, each with a JSON sidecar; those without facts have none."""
    folder.mkdir(parents=True)
    for name, facts in songs.items():
        write_wav(folder / f"{name}.wav")
        if facts:
            (folder / f"{name}.json").write_text(json.dumps(facts), encoding="utf-8")
    return folder
