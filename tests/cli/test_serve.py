"""`serve` lets in who is asked in, and says what is missing; `keys` lists and checks."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from sidestep_tui.cli import serve
from sidestep_tui.cli.main import main
from sidestep_tui.core import env, paths
from sidestep_tui.core.errors import ExitCode
from sidestep_tui.engine.fake_history import write_run
from sidestep_tui.ui import app, keymap


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.8.9.1"])
def test_this_machine_is_this_machine(host: str) -> None:
    assert serve.is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "192.168.1.4", "example.org", "localhost.example.org"])
def test_other_addresses_are_refused_unless_asked_for(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert not serve.is_loopback(host)
    assert main(["serve", "--host", host]) == ExitCode.USAGE
    assert "ssh -L" in capsys.readouterr().err


def test_without_the_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(serve.SidestepError, match="not installed") as caught:
        serve._textual_serve()
    assert 'sidestep-tui[web]"' in caught.value.hint


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({}, ""),
        ({"origin": "http://localhost:8000"}, ""),
        ({"given": ""}, "holds a key"),
        ({"given": "sesame2"}, "holds a key"),
        ({"given": "Öffne"}, "holds a key"),
        ({"origin": "http://elsewhere.example"}, "Another web site"),
        ({"origin": "null"}, "Another web site"),
        ({"host": "rebound.example:8000"}, "localhost only"),
        ({"host": "rebound.example:8000", "loopback_only": False}, ""),
    ],
)
def test_only_who_has_the_key_and_comes_directly_is_let_in(change: dict[str, str], word: str) -> None:
    request = {"host": "localhost:8000", "origin": None, "given": "sesame", "key": "sesame", "loopback_only": True}
    told = serve.refusal(**{**request, **change})  # type: ignore[arg-type]
    assert word in told
    assert bool(word) == bool(told)


def test_a_free_port_is_free() -> None:
    assert 1024 < serve.free_port("127.0.0.1") < 65536


def test_a_browser_needs_no_terminal() -> None:
    facts = env.terminal_facts({"TEXTUAL_DRIVER": "web"}, stdin_is_tty=False, stderr_is_tty=False, size=(80, 24))
    assert facts.usable


def test_keys_are_listed_with_their_ids(capsys: pytest.CaptureFixture[str]) -> None:
    config = paths.config_dir() / "tui.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text('[keymap]\n"app.debug" = "f12"\n')
    assert main(["keys"]) == ExitCode.DONE
    shown = capsys.readouterr().out
    assert shown.startswith("Everywhere\n")
    assert "f12  " in shown
    assert "wizard.next" in shown
    assert main(["keys", "--json"]) == ExitCode.DONE
    assert {"wizard.next", "view.freeze"} <= {row["id"] for row in json.loads(capsys.readouterr().out)}


def test_a_keymap_is_checked_on_the_command_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = paths.config_dir() / "tui.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text('[keymap]\n"app.debgu" = "f12"\n')
    assert main(["keys", "--check"]) == ExitCode.REFUSED
    assert "Did you mean 'app.debug'" in capsys.readouterr().err
    config.write_text('[keymap]\n"app.debug" = "f12"\n')
    assert main(["keys", "--check"]) == ExitCode.DONE


def test_options_of_the_session_reach_the_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("SIDESTEP_THEME", "SIDESTEP_ASCII", "SIDESTEP_MOUSE", "SIDESTEP_DISPLAY")
    for name in names:
        monkeypatch.setenv(name, "")  # so that it is put back afterwards
    monkeypatch.setattr(app, "run", lambda: 0)
    assert main(["--theme", "nord", "--ascii", "--no-mouse", "--stock-display"]) == ExitCode.DONE
    config = keymap.for_session(keymap.TuiConfig(), os.environ)
    assert (config.theme, config.ascii, config.mouse, config.display) == ("nord", True, False, keymap.STOCK)
    assert keymap.for_session(keymap.TuiConfig(theme="nord"), {}) == keymap.TuiConfig(theme="nord")


def test_attach_readonly_only_looks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(app, "run", lambda **wishes: asked.append(wishes) or 0)
    facts = env.terminal_facts({"TERM": "xterm"}, stdin_is_tty=True, stderr_is_tty=True, size=(80, 24))
    monkeypatch.setattr(env, "terminal_facts", lambda: facts)
    with write_run(tmp_path / "runs" / "drums", "finished", steps=20) as run:
        assert main(["attach", "--readonly", str(run.path)]) == ExitCode.DONE
    assert asked[0]["readonly"] is True
