from __future__ import annotations

import json
import shutil

import pytest

from sidestep_tui.core.errors import UsageError
from sidestep_tui.protocol.inbox import Inbox, send
from sidestep_tui.protocol.rundir import RunDir


def test_commands_arrive_once_and_in_order(run: RunDir) -> None:
    ids = [send(run, name, "tui") for name in ("pause", "checkpoint", "resume")]
    assert len({*ids}) == 3
    inbox = Inbox(run)
    assert [(command.id, command.name, command.by) for command in inbox.take()] == [
        (ids[0], "pause", "tui"),
        (ids[1], "checkpoint", "tui"),
        (ids[2], "resume", "tui"),
    ]
    assert inbox.take() == []


def test_arguments_travel(run: RunDir) -> None:
    send(run, "sample", "cli", prompt="a waltz", seed=3)
    assert Inbox(run).take()[0].args == {"prompt": "a waltz", "seed": 3}


def test_an_unknown_command_is_not_sent(run: RunDir) -> None:
    with pytest.raises(UsageError) as caught:
        send(run, "stpo", "cli")
    assert caught.value.hint == "Did you mean 'stop'?"
    assert list(run.inbox.iterdir()) == []


def test_the_directory_is_made_when_missing(run: RunDir) -> None:
    shutil.rmtree(run.inbox)
    assert Inbox(run).take() == []
    send(run, "stop", "cli")
    assert Inbox(run).take()[0].name == "stop"


def test_half_written_files_are_left_alone(run: RunDir) -> None:
    (run.inbox / ".1-a.json.x.tmp").write_text('{"na')
    (run.inbox / "notes.txt").write_text("hello")
    (run.inbox / "folder.json").mkdir()
    assert Inbox(run).take() == []
    assert len(list(run.inbox.iterdir())) == 3


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "not JSON"),
        ("[]", "no name"),
        ('{"name": 3}', "no name"),
        ('{"name": "explode", "id": "x"}', "no command 'explode'"),
        ("[" * 70_000, "larger than a command"),
        ("[" * 60_000, "not JSON"),
    ],
    ids=["torn", "list", "number", "unknown", "large", "deep"],
)
def test_what_is_no_command_comes_back_with_its_problem(run: RunDir, content: str, problem: str) -> None:
    (run.inbox / "1-odd.json").write_text(content)
    (command,) = Inbox(run).take()
    assert problem in command.problem
    assert list(run.inbox.iterdir()) == []


def test_a_hand_written_command_works(run: RunDir) -> None:
    """A shell script needs one line: echo '{"name": "stop"}' > inbox/stop.json."""
    (run.inbox / "stop.json").write_text('{"name": "stop"}')
    (command,) = Inbox(run).take()
    assert (command.name, command.id, command.by, command.problem) == ("stop", "stop", "unknown", "")
    assert command.t > 0


def test_the_file_says_who_sent_it(run: RunDir) -> None:
    command_id = send(run, "stop", "cli")
    (path,) = run.inbox.iterdir()
    assert json.loads(path.read_text())["by"] == "cli"
    assert path.name.endswith(f"-{command_id}.json")
