"""`dataset encode` as a command: what it says, what it refuses, and how it ends its encoder."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from sidestep_tui.launch import encode, job, spawn
from sidestep_tui.schema.layers import Layer, resolve

from .conftest import Outcome

Cli = Callable[..., Outcome]
Pretend = Callable[[str], None]
_ENCODED = {
    "cache": "/c",
    "device": "cpu",
    "songs": 3,
    "copies": 6,
    "encoded": {"latents": 1, "text": 2, "conditions": 9},
    "skipped": [{"name": "noise", "reason": "It is not sound."}],
}
_NOTHING = {"cache": "/c", "device": "cpu", "latents": 0, "seconds": 0.0, "texts": 0, "conditions": 0, "bytes": 0}


def song(name: str, **fields: Any) -> dict[str, Any]:
    nothing = {"latents": 0, "seconds": 0.0, "texts": 0, "conditions": 0, "bytes": 0, "reasons": [], "problem": ""}
    return {"name": name, **nothing, **fields}


@pytest.fixture
def pretend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pretend:
    """Have a few lines of Python stand in for the encoder; `request` and `say` are theirs."""

    def write(body: str) -> None:
        script = tmp_path / "encoder.py"
        script.write_text(
            "import json, os, signal, sys\n"
            "request = json.loads(sys.stdin.readline())\n"
            "def say(event, **fields):\n"
            "    print(json.dumps({'event': event, **fields}), flush=True)\n" + textwrap.dedent(body)
        )
        monkeypatch.setattr(spawn, "python", lambda _module: [sys.executable, str(script)])

    return write


@pytest.fixture
def arguments(checkpoint: Path, songs: Path) -> list[str]:
    return ["dataset", "encode", str(songs), "--model", str(checkpoint)]


def test_what_was_encoded_is_counted_and_what_was_not_is_named(
    run_cli: Cli, pretend: Pretend, arguments: list[str]
) -> None:
    pretend(
        f"""
        say("warning", code="x", message="The caption of a is too long.", hint="Shorten it.")
        for done in range(101):
            say("progress", phase="encoding_audio", done=done, total=100, detail="a")
        say("result", **{_ENCODED!r})
        """
    )
    outcome = run_cli(*arguments)
    assert outcome.code == 0
    assert outcome.out == ("3 songs and 6 altered copies in /c: encoded 1 piece of audio, 2 texts and 9 conditions.\n")
    assert "Warning: The caption of a is too long. Shorten it." in outcome.err
    assert "Skipped: noise: It is not sound." in outcome.err
    assert outcome.err.count("Encoding audio:") == 11


def test_json_is_the_result_alone(run_cli: Cli, pretend: Pretend, arguments: list[str]) -> None:
    pretend(f"say('result', **{_ENCODED!r})")
    assert run_cli(*arguments, "--json").json == _ENCODED


def test_the_encoder_gets_the_settings_that_a_run_would_have(
    run_cli: Cli, pretend: Pretend, arguments: list[str], songs: Path, checkpoint: Path
) -> None:
    pretend("say('result', request=request)")
    outcome = run_cli(*arguments, "--preset", "quick_test", "-s", "data.variants=2", "--plan", "--json")
    request = outcome.json["request"]
    assert request["do"] == "plan"
    assert request["settings"]["data"]["path"] == str(songs)
    assert request["settings"]["data"]["variants"] == 2
    assert request["settings"]["model"]["path"] == str(checkpoint)


def test_a_plan_lists_what_is_missing_and_why(run_cli: Cli, pretend: Pretend, arguments: list[str]) -> None:
    plan = {
        **_NOTHING,
        **{"latents": 2, "seconds": 200.0, "texts": 1, "conditions": 3, "bytes": 5_000_000},
        "songs": [
            song("new one", latents=2, seconds=200.0, texts=1, conditions=2, reasons=["new"]),
            song("edited", conditions=1, reasons=["words changed"]),
            song("done"),
            song("gone", problem="gone.wav cannot be read."),
        ],
    }
    pretend(f"say('result', **{plan!r})")
    outcome = run_cli(*arguments, "--plan")
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert [line.split()[0] for line in lines] == ["SONG", "new", "edited", "gone", "To"]
    assert lines[2].split()[1:] == ["–", "–", "1", "words", "changed"]
    assert lines[3].endswith("gone.wav cannot be read.")
    assert lines[-1] == ("To encode: 2 pieces of audio (3 m 20 s), 1 text and 3 conditions; about 4.8 MiB in /c.")


def test_a_plan_of_nothing_says_so(run_cli: Cli, pretend: Pretend, arguments: list[str]) -> None:
    pretend(f"say('result', songs=[], **{_NOTHING!r})")
    assert run_cli(*arguments, "--plan").out == "Nothing to encode: 0 songs in /c.\n"


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["-s", "data.variants=2", "-s", "data.pitch=0", "-s", "data.stretch=0"], 4, "Nothing would be altered"),
        (["-s", "data.variants=99"], 4, "data.variants"),
        (["--model", "/nowhere"], 4, "The model directory does not exist."),
        (["--preset", "no such"], 4, "no such"),
    ],
)
def test_what_can_be_refused_at_once_starts_no_encoder(
    run_cli: Cli, pretend: Pretend, arguments: list[str], more: list[str], code: int, words: str
) -> None:
    pretend("say('result', started=True)")
    outcome = run_cli(*arguments, *more)
    assert outcome.code == code
    assert words in outcome.err
    assert "started" not in outcome.out


def test_without_a_model_it_says_how_to_name_one(run_cli: Cli, songs: Path) -> None:
    outcome = run_cli("dataset", "encode", str(songs))
    assert outcome.code == 4
    assert "--model DIR" in outcome.err


@pytest.mark.parametrize(
    ("kind", "code", "exit_code"), [("data", 4, 4), ("out_of_memory", 5, 5), ("disk_full", 4, 4), ("bug", 70, 70)]
)
def test_errors_of_the_encoder_keep_kind_words_and_exit_code(
    run_cli: Cli, pretend: Pretend, arguments: list[str], kind: str, code: int, exit_code: int
) -> None:
    pretend(f"say('error', kind={kind!r}, title='It broke.', message='Why.', hint='Do this.', code={code})")
    outcome = run_cli(*arguments, "--json")
    assert outcome.code == exit_code
    error = {"kind": kind, "title": "It broke.", "message": "Why.", "hint": "Do this.", "code": exit_code}
    assert outcome.json == {"error": error}


def test_an_encoder_that_dies_is_explained_by_its_last_words(
    run_cli: Cli, pretend: Pretend, arguments: list[str]
) -> None:
    pretend("sys.exit('No module named torch')")
    outcome = run_cli(*arguments)
    assert outcome.code == 70
    assert "No module named torch" in outcome.err
    pretend("os.kill(os.getpid(), signal.SIGKILL)")
    outcome = run_cli(*arguments)
    assert outcome.code == 5
    assert "ran out of memory" in outcome.err


def test_an_encoder_that_cannot_even_read_is_explained(
    run_cli: Cli, pretend: Pretend, arguments: list[str], tmp_path: Path
) -> None:
    pretend("")
    (tmp_path / "encoder.py").write_text("import sys, os\nos.close(0)\nsys.exit('too early')\n")
    outcome = run_cli(*arguments)
    assert outcome.code == 70
    assert "too early" in outcome.err


def test_whoever_stops_listening_ends_the_encoder(pretend: Pretend, arguments: list[str]) -> None:
    pretend(
        """
        say("progress", phase="encoding_audio", done=0, total=2, detail=str(os.getpid()))
        sys.stdin.read()
        """
    )
    pids: list[int] = []

    def stop(said: encode.Said) -> None:
        pids.append(int(said.name))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode.encode(resolve([Layer("test", {})]).settings, stop)
    assert not psutil.pid_exists(pids[0])


def test_an_encoder_that_will_not_leave_is_killed(
    pretend: Pretend, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "_PATIENCE_SECONDS", 0.1)
    pretend(
        """
        say("progress", phase="encoding_audio", done=0, total=2, detail=str(os.getpid()))
        signal.pause()
        """
    )
    pids: list[int] = []

    def stop(said: encode.Said) -> None:
        pids.append(int(said.name))
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        encode.encode(resolve([Layer("test", {})]).settings, stop)
    assert not psutil.pid_exists(pids[0])


def test_ctrl_c_says_that_it_can_be_continued(tmp_path: Path, pretend: Pretend, arguments: list[str]) -> None:
    pretend(
        """
        say("progress", phase="encoding_audio", done=0, total=2, detail="a")
        sys.stdin.read()
        """
    )
    code = (
        "import sys\n"
        "from sidestep_tui.launch import spawn\n"
        f"spawn.python = lambda module: [sys.executable, {json.dumps(str(tmp_path / 'encoder.py'))}]\n"
        "from sidestep_tui.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "Encoding audio: 0 of 2\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 3
    assert err == "Stopped. What is encoded stays; the same command continues.\n"
    assert not out
