"""Finding checkpoints without being told where they are, and remembering what was used last."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from sidestep_tui.core import atomic, paths
from sidestep_tui.core.errors import ModelError
from sidestep_tui.dataset import archives
from sidestep_tui.launch import models
from sidestep_tui.launch.models import FoundModel

USUAL_ROOTS = (Path("checkpoints"), Path("ACE-Step-1.5") / "checkpoints")
_MOST_RECENT = 12
_RECENT_FILE = "recent.json"
_KINDS = ("models", "datasets", "outputs")


def find_models(roots: Iterable[Path] | None = None) -> list[FoundModel]:
    """Checkpoints in `roots` (or the usual folders and the recent ones), each once however it is linked."""
    found: dict[Path, FoundModel] = {}
    candidates = list(USUAL_ROOTS) if roots is None else list(roots)
    for root in candidates:
        inside = [_inspected(root)] if models.is_model_dir(root) else list(models.models_in(root))
        for model in inside:
            if model is not None:
                found.setdefault(model.path, model)
    if roots is None:
        for path in recent_models():
            model = _inspected(path)
            if model is not None:
                found.setdefault(model.path, model)
    return list(found.values())


def _inspected(path: Path) -> FoundModel | None:
    try:
        return models.inspect(path)
    except ModelError:
        return None


def recent_models() -> list[Path]:
    """Checkpoints used before that still exist, newest first."""
    return _recent("models")


def recent_datasets() -> list[Path]:
    """Song folders used before, and ZIPs of them, that still exist, newest first."""
    return [path for path in map(Path, _load()["datasets"]) if path.is_dir() or archives.is_zip(path)]


def recent_outputs() -> list[Path]:
    """Folders that received runs and still exist, newest first."""
    return _recent("outputs")


def remember(*, model: Path | None = None, dataset: Path | None = None, output: Path | None = None) -> None:
    """Put paths at the top of their recent lists."""
    remembered = _load()
    for kind, path in zip(_KINDS, (model, dataset, output), strict=True):
        if path is not None:
            newest = str(paths.expand(path).resolve())
            rest = [old for old in remembered[kind] if old != newest]
            remembered[kind] = [newest, *rest][:_MOST_RECENT]
    atomic.write_json(paths.state_dir() / _RECENT_FILE, remembered)


def _recent(kind: str) -> list[Path]:
    return [path for path in map(Path, _load()[kind]) if path.is_dir()]


def _load() -> dict[str, list[str]]:
    """The recent lists; an absent or damaged file is an empty one, since nothing in it cannot be typed again."""
    try:
        value = json.loads((paths.state_dir() / _RECENT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        value = {}
    lists = value if isinstance(value, dict) else {}
    return {
        kind: [item for item in entries if isinstance(item, str)]
        if isinstance(entries := lists.get(kind, []), list)
        else []
        for kind in _KINDS
    }
