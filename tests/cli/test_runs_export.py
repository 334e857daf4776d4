"""`runs export`: every number of a run in a file, superseded ones left out, nothing overwritten."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sidestep_tui.launch import sinks, sinks_export
from sidestep_tui.protocol.events import decode, encode
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.state import RunState
from sidestep_tui.protocol.tail import Tail

from .conftest import Outcome

Cli = Callable[..., Outcome]


class Story:
    """A journal written event by event."""

    def __init__(self, home: Path, name: str = "blues") -> None:
        self.run = RunDir.create(home / "runs", name)
        self.run.run_toml.write_text("")
        self.seq = 0
        self.session = ""

    def say(self, type: str, **fields: Any) -> None:
        head = {"v": 1, "seq": self.seq, "t": 1000.0 + self.seq, "session": self.session, "type": type}
        with self.run.events.open("ab") as handle:
            handle.write(encode(head | fields))
        self.seq += 1

    def begin(self, session: str, resumed_from: int | None = None) -> None:
        self.session = session
        self.say("session_started", resumed_from=resumed_from, total_steps=9, epochs=3, steps_per_epoch=3)

    def steps(self, first: int, last: int, *, add: float = 0.0) -> None:
        for step in range(first, last + 1):
            self.say("step", step=step, epoch=1, loss=1.0 / step + add, lr=1e-4, grad_norm=0.3, note="text")


@pytest.fixture
def story(home: Path) -> Story:
    return Story(home)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_a_step_its_epoch_and_its_measurement_are_one_row(story: Story, run_cli: Cli, home: Path) -> None:
    story.begin("a")
    story.say("eval", step=0, epoch=0, loss=2.0, by_level={"0.250": 1.5})
    story.steps(1, 3)
    story.say("epoch", epoch=1, step=3, loss=0.6, smoothed_loss=None, seconds=4.0, by_song={"a/b": 0.5})
    story.say("eval", step=3, epoch=1, loss=1.0, by_level={"0.250": 0.75})
    outcome = run_cli("runs", "export", "blues")
    assert outcome.code == 0, outcome.err
    assert outcome.out == "blues.csv\n"
    rows = read_csv(home / "blues.csv")
    assert [row["step"] for row in rows] == ["0", "1", "2", "3"]
    assert "note" not in rows[0]
    assert rows[0]["loss"] == "" and rows[0]["eval/loss"] == "2.0"
    assert float(rows[3]["loss"]) == 1.0 / 3
    assert (rows[3]["epoch_loss"], rows[3]["epoch_seconds"], rows[3]["eval/by_level/0.250"]) == ("0.6", "4.0", "0.75")
    assert rows[3]["epoch/by_song/a/b"] == "0.5"
    assert rows[3]["t"] == "1004.0"


def test_what_a_resumed_run_redid_is_left_out(story: Story, run_cli: Cli, home: Path) -> None:
    story.begin("a")
    story.steps(1, 6)
    story.begin("b", resumed_from=4)
    story.steps(5, 8, add=10.0)
    story.begin("c", resumed_from=6)
    story.steps(7, 9, add=20.0)
    assert run_cli("runs", "export", "blues", "--metrics", "loss").code == 0
    rows = [(int(row["step"]), float(row["loss"])) for row in read_csv(home / "blues.csv")]
    assert rows == [(s, 1 / s + (0 if s <= 4 else 10 if s <= 6 else 20)) for s in range(1, 10)]
    state = RunState.from_events(Tail(story.run.events).read_all())
    assert rows == list(state.series["loss"])


def test_a_run_that_goes_back_within_a_session_does_not_fork(story: Story) -> None:
    story.begin("a")
    story.steps(1, 5)
    story.steps(3, 4, add=5.0)
    found = sinks.survey(story.run.events)
    rows = list(sinks.rows(story.run.events, found, ["loss"]))
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert rows[2]["loss"] == 1 / 3 + 5.0


def test_a_start_over_supersedes_everything(story: Story) -> None:
    story.begin("a")
    story.say("eval", step=0, loss=3.0)
    story.steps(1, 2)
    story.begin("b")
    story.say("eval", step=0, loss=4.0)
    story.steps(1, 1)
    rows = list(sinks.rows(story.run.events, sinks.survey(story.run.events), ["loss", "eval/loss"]))
    assert [(row["step"], row.get("eval/loss")) for row in rows] == [(0, 4.0), (1, None)]


def test_json_lines_keep_numbers_that_are_none(story: Story, run_cli: Cli, home: Path) -> None:
    story.begin("a")
    story.say("step", step=1, epoch=1, loss=math.nan, lr=1e-4, grad_norm=math.inf)
    assert run_cli("runs", "export", "blues", "--to", "jsonl", "deep/er.jsonl").code == 0
    line = (home / "deep" / "er.jsonl").read_bytes()
    assert json.loads(line)["loss"] == "NaN"
    assert math.isnan(decode(line)["loss"])
    out = run_cli("runs", "export", "blues", "-").out
    assert "nan" in out and "inf" in out


def test_nothing_is_overwritten_and_nothing_half_written_stays(story: Story, run_cli: Cli, home: Path) -> None:
    story.begin("a")
    assert run_cli("runs", "export", "blues").code == 4
    assert not list(home.glob("*blues*"))
    story.steps(1, 2)
    (home / "blues.csv").write_text("mine")
    outcome = run_cli("runs", "export", "blues")
    assert outcome.code == 4
    assert "is there already" in outcome.err
    assert (home / "blues.csv").read_text() == "mine"
    (home / "dangling.csv").symlink_to(home / "nowhere")
    assert run_cli("runs", "export", "blues", "dangling.csv").code == 4
    assert not list(home.glob(".*"))


def test_a_file_that_appears_meanwhile_is_kept(story: Story, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    story.begin("a")
    story.steps(1, 2)
    out = home / "o.csv"
    real = sinks.survey

    def late(path: Path) -> sinks.Survey:
        out.write_text("theirs")
        return real(path)

    monkeypatch.setattr(sinks, "survey", late)
    with pytest.raises(Exception, match="is there already"):
        sinks_export.export(story.run, "csv", out)
    assert out.read_text() == "theirs"
    assert not list(home.glob(".*"))


def test_an_unknown_metric_is_answered_with_the_nearest(story: Story, run_cli: Cli) -> None:
    story.begin("a")
    story.steps(1, 2)
    outcome = run_cli("runs", "export", "blues", "--metrics", "los")
    assert outcome.code == 2
    assert "Did you mean 'loss'?" in outcome.err
    assert (
        run_cli("runs", "export", "blues", "-", "--metrics", "l*").out.splitlines()[0] == "step,epoch,t,session,loss,lr"
    )


def test_damaged_lines_and_a_torn_end_are_left_out(story: Story) -> None:
    story.begin("a")
    story.steps(1, 2)
    with story.run.events.open("ab") as handle:
        handle.write(b'\x00\xff garbage\n{"v": 1}\n[1]\n')
    story.steps(3, 3)
    with story.run.events.open("ab") as handle:
        handle.write(b'{"v":1,"seq":99,"type":"step","step":4,"loss":')
    rows = list(sinks.rows(story.run.events, sinks.survey(story.run.events), ["loss"]))
    assert [row["step"] for row in rows] == [1, 2, 3]


def test_what_is_written_during_an_export_waits_for_the_next(story: Story) -> None:
    story.begin("a")
    story.steps(1, 2)
    found = sinks.survey(story.run.events)
    story.steps(3, 4)
    assert [row["step"] for row in sinks.rows(story.run.events, found, found.metrics)] == [1, 2]


def test_parquet_without_pyarrow_says_how_to_get_it(
    story: Story, run_cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    story.begin("a")
    story.steps(1, 2)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    outcome = run_cli("runs", "export", "blues", "--to", "parquet")
    assert outcome.code == 2
    assert "pip install 'sidestep-tui[parquet]'" in outcome.err
    assert not (home / "blues.parquet").exists()


def test_parquet_goes_out_in_groups_with_its_types(story: Story, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    story.begin("a")
    story.steps(1, 5)
    story.say("eval", step=5, loss=1)
    groups: list[dict[str, list[Any]]] = []
    schemas: list[list[tuple[str, str]]] = []

    class Writer:
        def __init__(self, handle: Any, schema: list[tuple[str, str]]) -> None:
            schemas.append(schema)
            handle.write(b"PAR1")

        def __enter__(self) -> Writer:
            return self

        def __exit__(self, *_: object) -> None:
            return None

        def write_table(self, table: dict[str, list[Any]]) -> None:
            groups.append(table)

    arrow, parquet = ModuleType("pyarrow"), ModuleType("pyarrow.parquet")
    table = type("Table", (), {"from_pydict": staticmethod(lambda values, schema: values)})
    vars(arrow).update(
        schema=list, Table=table, int64=lambda: "int64", string=lambda: "string", float64=lambda: "float64"
    )
    vars(parquet).update(ParquetWriter=Writer)
    monkeypatch.setitem(sys.modules, "pyarrow", arrow)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", parquet)
    monkeypatch.setattr(sinks_export, "ROWS_PER_GROUP", 2)
    assert sinks_export.export(story.run, "parquet", home / "o.parquet") == 5
    assert [group["step"] for group in groups] == [[1, 2], [3, 4], [5]]
    assert groups[2]["eval/loss"] == [1.0] and type(groups[2]["eval/loss"][0]) is float
    assert groups[0]["eval/loss"] == [None, None]
    assert dict(schemas[0])["step"] == "int64" and dict(schemas[0])["loss"] == "float64"
    assert (home / "o.parquet").read_bytes() == b"PAR1"


def test_true_parquet_reads_back(story: Story, home: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    story.begin("a")
    story.steps(1, 5)
    sinks_export.export(story.run, "parquet", home / "o.parquet")
    table = parquet.read_table(home / "o.parquet").to_pydict()
    assert table["step"] == [1, 2, 3, 4, 5]
    assert table["loss"] == [1.0 / step for step in range(1, 6)]


def test_the_bare_command_still_lists(story: Story, run_cli: Cli, home: Path) -> None:
    story.begin("a")
    story.steps(1, 2)
    assert [run["name"] for run in run_cli("runs", "--json").json] == ["blues"]
    assert "blues" in run_cli("runs").out
    assert run_cli("runs", "blues").code == 2
