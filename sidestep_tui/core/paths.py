"""Where the product keeps what belongs to the user (XDG on Linux, the native places elsewhere)."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import platformdirs

_APP = "sidestep-tui"


def _private(path: Path) -> Path:
    """Make `path`, for this user only. Where that cannot be (a read-only home), whoever writes there says so."""
    with contextlib.suppress(OSError):
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def expand(text: str | Path) -> Path:
    """`text` as a path, with a leading `~` replaced; `~nobody` stays as it is, and is then found missing."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 (Path.expanduser raises for homes it does not know)


def config_dir() -> Path:
    """Settings that the user may edit: keymap, theme, user presets."""
    return _private(Path(platformdirs.user_config_dir(_APP, appauthor=False)))


def state_dir() -> Path:
    """What the product remembers between sessions: drafts, recent paths, known runs, crash logs."""
    return _private(Path(platformdirs.user_state_dir(_APP, appauthor=False)))


def existing_ancestor(path: Path) -> Path:
    """`path`, or the nearest folder above it that exists."""
    current = path.absolute()
    while not current.exists() and current != current.parent:
        current = current.parent
    return current


def cache_place() -> Path:
    """Where `cache_dir` is, or would be: for those who only look."""
    return Path(platformdirs.user_cache_dir(_APP, appauthor=False))


def cache_dir() -> Path:
    """What can be made again: encoded songs."""
    return _private(cache_place())


def user_presets_dir() -> Path:
    """The user's own presets, one TOML file each."""
    return _private(config_dir() / "presets")


def drafts_dir() -> Path:
    """Half-made runs of the wizard, autosaved."""
    return _private(state_dir() / "drafts")


def shipped_presets_dir() -> Path:
    """The presets of the product: beside the package in a source tree, inside it in a wheel."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "presets"
    return installed if installed.is_dir() else package.parent / "presets"


def default_output_dir() -> Path:
    """Where runs go when nothing else is said: `runs/` in the working directory."""
    return Path("runs")


def shorten(path: Path | str, *, home: Path | None = None) -> str:
    """Show `path` with the home directory as `~`."""
    text = str(path)
    prefix = str(home or Path.home())
    return "~" + text[len(prefix) :] if text == prefix or text.startswith(prefix + os.sep) else text
