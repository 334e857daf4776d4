"""What a run was made from, in a few digits: enough to see later that model or songs are no longer the same."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

from sidestep_tui.core import paths
from sidestep_tui.core.errors import AdapterError, DataError, ModelError
from sidestep_tui.dataset import manifest
from sidestep_tui.launch import models
from sidestep_tui.schema import adapter_names
from sidestep_tui.schema.settings import Settings

_SAMPLE_BYTES = 64 * 1024


def of_settings(settings: Settings) -> dict[str, str]:
    """Digests of the checkpoint, of the adapter to start from and of what training would see of the songs.

    What cannot be read is left out.
    """
    found = {}
    with contextlib.suppress(ModelError, OSError):
        found["model"] = of_model(models.locate(settings.model.path, settings.model.variant), settings.model.components)
    if settings.adapter.start_from:
        with contextlib.suppress(AdapterError, OSError):
            place = adapter_names.weights_file(paths.expand(settings.adapter.start_from))
            found["start_from"] = hashlib.sha256(_sample(place)).hexdigest()
    data = settings.data
    if not data.path:
        return found
    with contextlib.suppress(DataError, OSError):
        songs = manifest.scan(paths.expand(data.path), data.txt_role, data.language, may_be_tensors=True)
        found["dataset"] = manifest.fingerprint(songs)
    return found


def of_model(model: models.FoundModel, components: str = "") -> str:
    """A digest of every file that training needs: its role, length, beginning and end. Reads 128 KiB of each."""
    digest = hashlib.sha256()
    for check in models.check_files(model, components):
        digest.update(f"{check.role}/{check.path.name}\n".encode())
        if check.path.is_file():
            digest.update(_sample(check.path))
    return digest.hexdigest()


def _sample(path: Path) -> bytes:
    with path.open("rb") as handle:
        size = handle.seek(0, 2)
        handle.seek(0)
        head = handle.read(_SAMPLE_BYTES)
        handle.seek(max(0, size - _SAMPLE_BYTES))
        return size.to_bytes(8, "little") + head + handle.read(_SAMPLE_BYTES)
