"""Scanning in a child process, and what importing the package costs the terminal side."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset.apart import scan_apart
from sidestep_tui.dataset.manifest import scan

WriteSong = Callable[..., Path]


def test_child_returns_what_a_scan_here_would(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("a.wav")
    (tmp_path / "a.txt").write_text("walking home\nin the rain")
    (tmp_path / "b.mp3").touch()
    seen: list[tuple[int, int]] = []
    apart = scan_apart(tmp_path, "lyrics", "de", lambda done, total: seen.append((done, total)))
    assert apart == scan(tmp_path, "lyrics", "de")
    assert seen[-1] == (2, 2)


def test_refusal_of_the_child_arrives_whole(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No songs in") as caught:
        scan_apart(tmp_path)
    assert caught.value.hint


def test_raising_from_progress_stops_the_child(write_song: WriteSong, tmp_path: Path) -> None:
    write_song("a.wav")

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan_apart(tmp_path, progress=stop)


def test_child_that_dies_is_reported(write_song: WriteSong, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_song("a.wav")
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", os.fspath(broken))
    with pytest.raises(DataError, match="status 1"):
        scan_apart(tmp_path)


def test_child_that_says_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\nexec sleep 600\n")
    silent.chmod(0o755)
    monkeypatch.setattr(sys, "executable", os.fspath(silent))
    with pytest.raises(DataError, match="does not answer"):
        scan_apart(tmp_path, quiet_seconds=0.05)


def test_importing_the_package_loads_no_array_or_audio_library() -> None:
    code = (
        "import sys\n"
        "import sidestep_tui.dataset.apart, sidestep_tui.dataset.audio, sidestep_tui.dataset.captions\n"
        "print(sorted({'numpy', 'soundfile', 'torch', 'textual', 'pydantic'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
