"""The child's side of `apart`: `python -m sidestep_tui.dataset.apart_tasks TASK` with parameters on standard input.

It prints one JSON object per line: progress, then the result or the error. A task is a function from its parameters
and a way to report progress to a JSON value; `TASKS` is where to add one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, Final

from sidestep_tui.core.errors import SidestepError

Parameters = dict[str, Any]
Report = Callable[[str, int, int], None]
_REPORTS_PER_TASK: Final = 200


def _scan(given: Parameters, report: Report) -> Any:
    from sidestep_tui.dataset.manifest import scan

    found = scan(
        given["root"],
        given["txt_role"],
        given["language"],
        lambda done, total: report("headers", done, total),
        may_be_tensors=True,
    )
    return found.to_dict()


def _read(given: Parameters, report: Report) -> Any:
    """What the model reads: of the songs of a folder, or of a manifest that the caller has (with edits, say)."""
    from dataclasses import asdict

    from sidestep_tui.dataset import reading
    from sidestep_tui.dataset.manifest import Manifest, scan

    if "manifest" in given:
        found = Manifest.from_dict(given["manifest"])
    else:
        found = scan(given["root"], given["txt_role"], given["language"], _headers(report))
    tokens = reading.tokens_of(given["tokenizer"])
    settings = reading.ReadingSettings(**given["settings"])
    readings = reading.read(found, settings, tokens, given["names"], lambda done, total: report("texts", done, total))
    return [asdict(item) for item in readings]


def _peaks(given: Parameters, report: Report) -> Any:
    from sidestep_tui.dataset.cutting import slicing_apart

    return slicing_apart.peaks(given, report)


def _slice_plan(given: Parameters, report: Report) -> Any:
    from sidestep_tui.dataset.cutting import slicing_apart

    return slicing_apart.plan(given, report)


def _slice(given: Parameters, report: Report) -> Any:
    from sidestep_tui.dataset.cutting import slicing_apart

    return slicing_apart.slice_songs(given, report)


def _doctor(given: Parameters, report: Report) -> Any:
    """A `doctor.Report` as a dictionary, and what its fixes would write (`doctor.preview`)."""
    from sidestep_tui.dataset.health import doctor

    found = doctor.examine(given["root"], **given["options"], progress=report)
    return {"report": found.to_dict(), "preview": doctor.preview(doctor.planned(found))}


def _doctor_fix(given: Parameters, report: Report) -> Any:
    """Carry out some fixes of a report, as far as their files are those that were shown; what is left, what was
    written."""
    from sidestep_tui.dataset.health import doctor
    from sidestep_tui.dataset.health.doctor_findings import Fix

    chosen = [Fix(**item) for item in given["fixes"]]
    left, written = doctor.fix(doctor.Report.from_dict(given["report"]), chosen=chosen, agreed=given["agreed"])
    return {
        "report": left.to_dict(),
        "preview": doctor.preview(doctor.planned(left)),
        "written": [{"path": item.edit.origin, "backup": item.backup, "problem": item.problem} for item in written],
    }


def _measure(given: Parameters, report: Report) -> Any:
    from sidestep_tui.dataset.measuring import measure_apart

    return measure_apart.measure(given, report)


def _measure_part(given: Parameters, report: Report) -> Any:
    from sidestep_tui.dataset.measuring import measure_apart

    return measure_apart.measure_part(given, report)


def _headers(report: Report) -> Callable[[int, int], None]:
    return lambda done, total: report("headers", done, total)


TASKS: Final[dict[str, Callable[[Parameters, Report], Any]]] = {
    "doctor": _doctor,
    "doctor_fix": _doctor_fix,
    "measure": _measure,
    "measure_part": _measure_part,
    "peaks": _peaks,
    "read": _read,
    "scan": _scan,
    "slice": _slice,
    "slice_plan": _slice_plan,
}
"""What can be done apart. Each task imports what it needs itself, so that the others start sooner."""


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _report(doing: str, done: int, total: int) -> None:
    """Pass on about `_REPORTS_PER_TASK` steps, the first and the last among them."""
    if done == total or done % max(1, total // _REPORTS_PER_TASK) == 0:
        _say({"doing": doing, "done": done, "total": total})


def main(arguments: list[str]) -> int:
    """Run one task."""
    try:
        _say({"result": TASKS[arguments[0]](json.loads(sys.stdin.read()), _report)})
    except SidestepError as error:
        _say({"error": [error.title, error.message, error.hint]})
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
