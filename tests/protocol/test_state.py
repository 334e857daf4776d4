from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep_tui.engine import fake
from sidestep_tui.engine.fake_history import SCENARIOS
from sidestep_tui.protocol import snapshot
from sidestep_tui.protocol.events import EVENT_TYPES, Event
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.state import HOST_GAUGES, LOG_LINES, RunState


class Script:
    """Writes events by hand."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.session = "a"
        self.t = 0.0

    def __call__(self, type: str, **fields: Any) -> Script:
        self.t += 1.0
        head = {"v": 1, "seq": len(self.events), "t": self.t, "session": self.session, "type": type}
        self.events.append({**head, **fields})
        return self

    def begin(self, session: str, resumed_from: int | None = None, total: int = 100) -> Script:
        self.session = session
        return self(
            "session_started", resumed_from=resumed_from, total_steps=total, epochs=10, steps_per_epoch=10, device="cpu"
        )

    def steps(self, first: int, last: int, loss: float = 1.0) -> Script:
        for step in range(first, last + 1):
            self("step", step=step, epoch=(step - 1) // 10 + 1, loss=loss, lr=1e-4, grad_norm=0.1, samples_per_s=2.0)
        return self

    @property
    def state(self) -> RunState:
        return RunState.from_events(self.events)


@pytest.mark.parametrize(
    ("scenario", "status"),
    [
        ("starting", "starting"),
        ("encoding", "encoding"),
        ("live", "running"),
        ("paused", "paused"),
        ("stopping", "stopping"),
        ("resumed", "running"),
        ("finished", "finished"),
        ("stopped", "stopped"),
        ("crashed", "running"),
        ("diverged", "diverged"),
        ("failed", "failed"),
        ("out_of_memory", "out_of_memory"),
    ],
)
def test_the_status_of_every_kind_of_run(scenario: str, status: str) -> None:
    assert RunState.from_events(fake.history(scenario=scenario)).status == status


def test_a_finished_run_tells_everything() -> None:
    state = RunState.from_events(fake.history(400, scenario="finished"))
    assert (state.step, state.total_steps, state.epoch, state.epochs, state.steps_per_epoch) == (400, 400, 10, 10, 40)
    assert [len(state.series[name]) for name in ("loss", "lr", "grad_norm", "samples_per_s")] == [400] * 4
    assert len(state.series["epoch_loss"]) == 10 and len(state.series["smoothed"]) == 6
    assert [item.reason for item in state.checkpoints] == ["schedule", "schedule", "schedule", "final"]
    assert [item.kind for item in state.adapters] == ["final", "best"]
    assert state.best is not None and state.best.loss == min(state.series["smoothed"].ys)
    assert [mark.step for mark in state.marks if mark.kind == "best"] == [state.best.step]
    assert state.ended is not None and (state.ended.reason, state.ended.code) == ("finished", 0)
    assert state.gpus[0]["mem_total"] == 24 * 1024**3 and set(state.host) == set(HOST_GAUGES)
    assert state.is_over and state.eta_seconds(0.0) is None
    assert state.metrics["loss"] == state.series["loss"].last


def test_one_by_one_equals_all_at_once() -> None:
    for scenario in SCENARIOS:
        events = fake.history(120, scenario=scenario)
        one, batch = RunState(), RunState.from_events(events)
        for event in events:
            one.apply(event)
        assert describe(one) == describe(batch)


def describe(state: RunState) -> object:
    """Everything that a viewer could show, comparable (NaN by its name)."""
    picture = snapshot.describe(state, heartbeat=0.0, journal_offset=0)
    curves = {name: (list(series.xs), list(map(repr, series.ys))) for name, series in state.series.items()}
    return repr((picture, curves, state.checkpoints, state.adapters, list(state.log), state.marks, state.commands))


def test_a_resume_supersedes_what_lies_past_it() -> None:
    script = Script().begin("a").steps(1, 10, loss=1.0)
    script("checkpoint", path="checkpoints/step_000010", step=10, epoch=1, reason="schedule", seconds=1.0, bytes=5)
    script("best", step=10, epoch=1, loss=0.9).steps(11, 25, loss=2.0)
    script("epoch", epoch=2, step=20, loss=2.0, smoothed_loss=None, seconds=1.0)
    script("checkpoint", path="checkpoints/step_000020", step=20, epoch=2, reason="schedule", seconds=1.0, bytes=5)
    script("best", step=20, epoch=2, loss=0.8)
    script.begin("b", resumed_from=10).steps(11, 12, loss=3.0)
    state = script.state
    assert list(state.series["loss"]) == [(float(x), 1.0) for x in range(1, 11)] + [(11.0, 3.0), (12.0, 3.0)]
    assert len(state.series["epoch_loss"]) == 0
    assert [item.step for item in state.checkpoints] == [10]
    assert state.best is not None and state.best.step == 10
    assert (state.step, state.resumed_from, state.status) == (12, 10, "running")
    assert [(mark.step, mark.kind) for mark in state.marks] == [
        (10, "checkpoint"),
        (10, "best"),
        (10, "resume"),
    ]


def test_a_session_that_starts_over_supersedes_everything() -> None:
    script = Script().begin("a").steps(1, 8)
    script("best", step=5, epoch=1, loss=0.5)
    script.begin("b", resumed_from=None)
    state = script.state
    assert len(state.series["loss"]) == 0
    assert (state.best, state.step, state.epoch) == (None, 0, 0)
    assert state.resumed_from is None


def test_a_new_session_forgets_how_the_last_one_ended() -> None:
    script = Script().begin("a").steps(1, 3)
    script("error", kind="bug", title="Oh.", msg="", hint="", traceback_path=None)
    script("command", id="1", name="stop", state="received", by="x")("session_ended", reason="failed", code=70, step=3)
    assert script.state.status == "failed"
    script.session = "b"
    script("phase", name="loading", done=0, total=1)  # before session_started
    state = script.state
    assert (state.ended, state.error, state.commands, state.status) == (None, None, {}, "starting")
    script("error", kind="model", title="No.", msg="", hint="", traceback_path=None)
    script("session_ended", reason="refused", code=4, step=0)
    assert script.state.status == "refused"
    assert len(script.state.series["loss"]) == 3


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["step", "resume", "restart", "reread", "epoch"]), st.integers(0, 60), st.floats()),
        max_size=80,
    ),
    st.integers(1, 9),
)
def test_curves_never_fork(moves: list[tuple[str, int, float]], block: int) -> None:
    script = Script().begin("a")
    expected: dict[int, float] = {}
    step = 0
    sessions = 0
    for kind, number, value in moves:
        if kind == "step":
            step += 1
            expected[step] = value
            script("step", step=step, epoch=1, loss=value)
        elif kind == "epoch":
            script("epoch", epoch=number, step=step, loss=value, smoothed_loss=value, seconds=1.0)
        elif kind == "reread":
            script.events.append(script.events[number % len(script.events)])
        else:
            sessions += 1
            back = number % (step + 1) if kind == "resume" else 0
            step = back
            expected = {x: y for x, y in expected.items() if x <= back}
            script.begin(f"s{sessions}", resumed_from=back if kind == "resume" else None)
    script.events = [dict(event) for event in script.events]
    script.events = renumber(script.events)
    state = RunState()
    for start in range(0, len(script.events), block):
        state.apply_all(script.events[start : start + block])
    loss = state.series["loss"]
    assert list(loss.xs) == [float(x) for x in expected]
    assert list(map(repr, loss.ys)) == list(map(repr, expected.values()))
    for series in state.series.values():
        assert all(left < right for left, right in zip(series.xs, series.xs[1:], strict=False))


def renumber(events: list[Event]) -> list[Event]:
    """Give events rising numbers, but let a repeated one keep the number of its first occurrence."""
    seen: dict[str, int] = {}
    numbered = []
    for event in events:
        key = repr({name: value for name, value in event.items() if name != "seq"})
        seq = seen.setdefault(key, len(seen))
        numbered.append({**event, "seq": seq})
    return numbered


def test_events_seen_before_change_nothing() -> None:
    events = fake.history(100, scenario="resumed")
    state = RunState.from_events(events)
    before = describe(state)
    state.apply_all(events[len(events) // 2 :])
    state.apply_all(events)
    assert describe(state) == before


def test_nan_is_kept() -> None:
    state = RunState.from_events(fake.history(scenario="diverged", at=50))
    values = list(state.series["loss"].ys)
    assert [math.isnan(value) for value in values[-4:]] == [False, True, True, True]
    assert math.isnan(state.metrics["loss"])
    assert state.error is not None and state.error.hint


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.just(10**400),
    st.just(-(10**400)),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.none(), max_size=2),
)
FIELDS = (
    "step",
    "epoch",
    "loss",
    "lr",
    "t",
    "session",
    "name",
    "done",
    "gpus",
    "path",
    "id",
    "state",
    "reason",
    "level",
    "seq",
)


@settings(deadline=None)
@given(
    st.lists(
        st.builds(
            lambda kind, rest: {"type": kind, **rest},
            st.one_of(st.sampled_from(sorted(EVENT_TYPES)), JUNK),
            st.dictionaries(st.sampled_from(FIELDS), JUNK, max_size=6),
        ),
        max_size=15,
    )
)
def test_no_journal_can_break_a_viewer(events: list[Event]) -> None:
    state = RunState()
    state.apply_all(events)
    state.eta_seconds(5.0)
    state.elapsed_seconds(5.0)
    for series in state.series.values():
        series.window(0, 10, 3)


def test_unknown_types_and_fields_are_ignored() -> None:
    script = Script().begin("a")
    before = describe(script.state)
    script("celebration", confetti=True)
    assert describe(script.state).replace(f"'seq': {len(script.events) - 1}", "'seq': 0") == before  # type: ignore[attr-defined]
    script("step", step=1, epoch=1, loss=0.5, lr=1.0, grad_norm=1.0, samples_per_s=1.0, mood="good")
    assert script.state.step == 1


def test_a_missing_metric_leaves_a_gap_in_its_own_curve_only() -> None:
    script = Script().begin("a")
    script("step", step=1, epoch=1, loss=0.5)("step", step=2, epoch=1, loss=0.4, lr="fast")(
        "step", step=3, epoch=1, loss=0.3, lr=0.1
    )
    state = script.state
    assert list(state.series["loss"].xs) == [1.0, 2.0, 3.0]
    assert state.series["lr"].last == 0.1


def test_the_log_keeps_the_newest_lines_and_counts_all() -> None:
    script = Script().begin("a")
    for number in range(LOG_LINES + 50):
        script("log", level="info", msg=str(number))
    state = script.state
    assert len(state.log) == LOG_LINES
    assert state.log[-1].text == str(LOG_LINES + 49)
    assert state.log_count == LOG_LINES + 51


def test_warnings_errors_and_checkpoints_are_in_the_log() -> None:
    script = Script().begin("a")("warning", code="c", msg="Careful.", hint="Do this.")
    script("error", kind="bug", title="Oh.", msg="It broke.", hint="", traceback_path="traceback.txt")
    lines = [(line.level, line.text) for line in script.state.log]
    assert lines[1:] == [("warning", "Careful. Do this."), ("error", "Oh. It broke.")]
    assert script.state.error is not None and script.state.error.traceback_path == "traceback.txt"


def test_commands_move_the_status() -> None:
    script = Script().begin("a")("phase", name="training", done=0, total=90).steps(1, 2)

    def order(name: str, state: str) -> str:
        return script("command", id=name, name=name, state=state, by="tui").state.status

    assert script.state.total_steps == 90
    assert order("pause", "received") == "pausing"
    script.steps(3, 3)
    assert script.state.status == "pausing"
    script("paused", step=3)
    assert order("pause", "done") == "paused"
    assert script.state.commands["pause"].state == "done"
    assert order("resume", "received") == "paused"
    assert script("resumed", step=3).state.status == "running"
    assert order("checkpoint", "received") == "running"
    assert order("stop", "received") == "stopping"
    script("phase", name="training", done=3, total=90)
    assert script.state.status == "stopping"
    assert script("phase", name="saving", done=0, total=1).state.status == "saving"
    assert script("session_ended", reason="stopped", code=3, step=3).state.status == "stopped"


def test_a_checkpoint_during_a_pause_leaves_it_paused() -> None:
    script = Script().begin("a").steps(1, 3)("paused", step=3)
    for name in ("saving", "training"):
        script("phase", name=name, done=3, total=90)
        assert script.state.status == "paused"


def test_stop_while_encoding_shows_until_the_end() -> None:
    script = Script().begin("a")("command", id="1", name="stop", state="received", by="tui")
    script("phase", name="encoding_audio", done=3, total=9)
    assert script.state.status == "stopping"


def test_the_pace_ignores_the_time_before_a_resume_and_during_a_pause() -> None:
    script = Script().begin("a").steps(1, 10)("paused", step=10)
    script.t += 10_000.0
    script("resumed", step=10).steps(11, 20)
    state = script.state
    assert state.seconds_per_step() == 1.0
    assert state.eta_seconds(script.t) == 80.0
    assert state.eta_seconds(script.t + 0.5) == 79.5
    assert state.eta_seconds(script.t + 500.0) == 79.0


def test_there_is_no_eta_before_two_steps() -> None:
    script = Script().begin("a").steps(1, 1)
    assert script.state.eta_seconds(0.0) is None


def test_elapsed_time_stops_with_the_session() -> None:
    script = Script().begin("a").steps(1, 5)
    assert script.state.elapsed_seconds(101.0) == 100.0
    script("session_ended", reason="finished", code=0, step=5)
    assert script.state.elapsed_seconds(9_999.0) == script.t - 1.0
    assert RunState().elapsed_seconds(5.0) is None


def test_the_version_moves_only_with_news() -> None:
    state = RunState()
    state.apply_all([])
    assert state.version == 0
    state.apply_all(fake.history(10))
    assert state.version == 1
    state.apply_all(fake.history(10))
    assert state.version == 1


def test_without_history_only_the_newest_values_are_kept() -> None:
    state = RunState(history=False)
    state.apply_all(fake.history(100, scenario="live"))
    assert state.metrics["loss"] > 0
    assert not any(len(series) for series in state.series.values())


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_snapshot_paints_the_same_picture(scenario: str, run: RunDir) -> None:
    state = RunState.from_events(fake.history(100, scenario=scenario))
    snapshot.write(run, snapshot.describe(state, heartbeat=5.0, journal_offset=77))
    read = snapshot.read(run)
    assert read is not None and (read["journal_offset"], snapshot.heartbeat(read)) == (77, 5.0)
    restored = snapshot.restore(read)
    for name in ("status", "phase", "step", "total_steps", "epoch", "best", "ended", "error", "gpus", "host", "device"):
        assert getattr(restored, name) == getattr(state, name), name
    assert repr(restored.metrics) == repr(state.metrics)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"phase":3}', b'{"best":{"x":1}}'])
def test_a_damaged_snapshot_is_no_snapshot(run: RunDir, content: bytes) -> None:
    run.state.write_bytes(content)
    read = snapshot.read(run)
    if read is not None:
        with pytest.raises(ValueError):
            snapshot.restore(read)


def test_the_time_left_stays_known_through_a_checkpoint() -> None:
    script = Script().begin("a")
    script("phase", name="training", done=0, total=100).steps(1, 20)
    script("phase", name="saving", done=0, total=0)
    script("phase", name="training", done=20, total=100)
    state = RunState()
    state.apply_all(script.events)
    assert state.eta_seconds(script.t) is not None
    state.apply_all(script("phase", name="exporting", done=0, total=0).events[-1:])
    assert state.eta_seconds(script.t) is None
