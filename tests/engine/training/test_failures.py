"""Whatever ends a session ends it with a sentence in the journal and the right exit code."""

from __future__ import annotations

import errno
import io
import sys
from pathlib import Path

import pytest

from sidestep_tui.core.errors import DiskFullError, ExitCode
from sidestep_tui.engine import __main__ as engine
from sidestep_tui.engine import failures
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.tail import Tail


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_no_room_for_a_file_is_a_full_disk(tmp_path: Path, number: int) -> None:
    failure = failures.describe(OSError(number, "no room", "adapter.safetensors"), tmp_path)
    assert isinstance(failure.error, DiskFullError)
    assert failure.code == ExitCode.REFUSED


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EIO, errno.ENOTDIR])
def test_trouble_with_a_file_names_it_and_is_no_bug(tmp_path: Path, number: int) -> None:
    failure = failures.describe(OSError(number, "as it may be", "state.json"), tmp_path)
    assert failure.code == ExitCode.REFUSED
    assert "state.json" in failure.error.title
    assert failure.traceback_path is None


def test_a_bug_keeps_its_traceback_in_a_file(tmp_path: Path) -> None:
    failure = failures.describe(KeyError("surprise"), tmp_path)
    assert failure.code == ExitCode.BUG
    assert failure.traceback_path is not None
    assert "surprise" in failure.traceback_path.read_text()


def test_a_bug_on_a_disk_that_takes_no_file_still_has_its_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise DiskFullError("The disk is full.")

    monkeypatch.setattr(failures.atomic, "write_text", full)
    failure = failures.describe(KeyError("surprise"), tmp_path)
    assert failure.code == ExitCode.BUG
    assert "engine.log" in failure.error.hint
    assert "surprise" in capsys.readouterr().err


class _FullDisk(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_log_that_takes_no_more_does_not_keep_the_end_out_of_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = RunDir.create(tmp_path, "drums")
    run_dir.run_toml.write_text("this is no TOML")
    monkeypatch.setattr(sys, "stderr", _FullDisk())
    assert engine.main([str(run_dir.path)]) == ExitCode.REFUSED
    assert [event["type"] for event in Tail(run_dir.events).read_all()][-2:] == ["error", "session_ended"]
