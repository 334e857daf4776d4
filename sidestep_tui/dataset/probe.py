"""Audio headers: how long a file is and how it was recorded, without decoding it."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from sidestep_tui.core import text as wording
from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset.truncation import missing_bytes

AUDIO_SUFFIXES: Final = frozenset({".wav", ".flac", ".ogg", ".mp3", ".opus"})
"""What a song may be called; the content decides how it is read."""

OTHER_AUDIO_SUFFIXES: Final = frozenset({".m4a", ".aac", ".wma", ".aif", ".aiff", ".alac", ".ape", ".mp4", ".webm"})
"""Sound that we do not read: named when met, so that nobody wonders where a song went."""

# A length beyond this is a damaged header, not a song (libsndfile reports 2**63-1 frames when it cannot tell).
_MOST_SECONDS: Final = 24 * 3600.0

Fault = Literal["denied", "folder", "not_a_file", "empty", "no_sound", "truncated", "unreadable"]

_PERMISSIONS: Final = "Check that the file exists and that you may read it."


class BadAudioError(DataError):
    """A file that is no usable sound; `fault` names the reason for programs."""

    def __init__(self, fault: Fault, title: str, message: str = "", hint: str = "") -> None:
        super().__init__(title, message, hint)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class AudioHeader:
    """What the header of a sound file says."""

    seconds: float
    sample_rate: int
    channels: int
    frames: int
    container: str
    encoding: str
    bytes: int
    """Size of the file."""


def check_file(path: Path) -> int:
    """Refuse, with the reason, what cannot be a sound file; return its size in bytes.

    Looking at the kind of file before opening it keeps a pipe or a device with a song's name from blocking us.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise BadAudioError(
            "denied", f"{path.name} cannot be read.", f"{error.strerror or error}.", _PERMISSIONS
        ) from error
    if stat.S_ISDIR(status.st_mode):
        raise BadAudioError("folder", f"{path.name} is a folder, not an audio file.")
    if not stat.S_ISREG(status.st_mode):
        raise BadAudioError("not_a_file", f"{path.name} is not a regular file.")
    if status.st_size == 0:
        raise BadAudioError("empty", f"{path.name} is empty (0 bytes).", hint="Copy the song again from its source.")
    return status.st_size


def read_header(path: Path) -> AudioHeader:
    """Read the header of a wav, flac, ogg, mp3 or opus file; `DataError` names what is wrong with it."""
    # Deferred: soundfile imports numpy, together 340 ms of a 400 ms first frame (measured).
    import soundfile

    size = check_file(path)
    try:
        missing = missing_bytes(path)
        info = soundfile.info(str(path))
    except OSError as error:
        raise BadAudioError(
            "denied", f"{path.name} cannot be read.", f"{error.strerror or error}.", _PERMISSIONS
        ) from error
    except (soundfile.SoundFileError, RuntimeError, ValueError, TypeError) as error:
        raise BadAudioError(
            "unreadable", f"{path.name} is not readable audio.", reason(error), "Export it again as wav or flac."
        ) from error
    if missing:
        raise BadAudioError(
            "truncated",
            f"{path.name} is cut short.",
            f"At least {wording.file_size(missing)} of it are missing.",
            "Copy it again from its source.",
        )
    if info.frames <= 0 or info.samplerate <= 0 or info.channels <= 0:
        raise BadAudioError(
            "no_sound", f"{path.name} holds no sound.", "Its header promises no samples.", "Export it again."
        )
    seconds = info.frames / info.samplerate
    if seconds > _MOST_SECONDS:
        raise BadAudioError(
            "unreadable", f"{path.name} has a damaged header.", "Its length cannot be right.", "Export it again."
        )
    return AudioHeader(seconds, info.samplerate, info.channels, info.frames, str(info.format), str(info.subtype), size)


def reason(error: Exception) -> str:
    """The library's own words for what went wrong, without the path that it puts in front."""
    words = str(error).rsplit("': ", 1)[-1].removeprefix("Error : ").strip()
    if words.startswith("File does not exist"):  # what libsndfile says of an mp3 without a single frame
        words = "It holds no sound that could be decoded"
    words = words[:1].upper() + words[1:]
    return words if words.endswith(".") else f"{words}."
