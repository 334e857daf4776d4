"""One JSON file that describes many songs, as Side-Step and ACE-Step's own trainer write it.

Three forms are read: a list of samples, `{"samples": […]}`, and the same with a `metadata` object, whose trigger tag
and `all_instrumental` hold for the samples that say nothing of their own. A sample is an object that names its audio
file, and has the fields of a JSON sidecar.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sidestep_tui.dataset import sidecars, values
from sidestep_tui.dataset.files import LARGEST_TABLE, Folder, UnreadableTextError, read_text
from sidestep_tui.dataset.tables import Row, SongNames, Table, file_name

# Paths before bare names: they tell songs of one name in two folders apart.
_FILE_KEYS: Final = ("audiopath", "audio", "path", "filepath", "audiofile", "file", "filename", "track")


def read_dataset_json(folder: Folder, name: str, songs: SongNames) -> Table | None:
    """Read a JSON file as a table; None where it is valid and has nothing to do with songs."""
    rows = parse(read_text(folder.files[name], limit=LARGEST_TABLE))
    return None if rows is None else Table(folder.where(name), folder.relative, rows, songs, noun="sample")


def parse(text: str) -> list[Row] | None:
    """The samples of a dataset JSON; None for JSON that holds none, `UnreadableTextError` for what is no JSON."""
    value = sidecars.load_json(text)
    metadata: object = None
    samples = value
    if isinstance(value, dict):
        samples, metadata = value.get("samples"), value.get("metadata")
    if not isinstance(samples, list):
        return None
    objects = [sample for sample in samples if isinstance(sample, dict)]
    rows = [row for sample in objects if (row := _row(sample, metadata if isinstance(metadata, dict) else {}))]
    if not rows and objects and isinstance(value, dict):
        raise UnreadableTextError("holds samples, but none that names its audio file")
    return rows or None


def _row(sample: Mapping[str, object], metadata: Mapping[str, object]) -> Row | None:
    """A sample as a row; None where it names no file."""
    by_key = {sidecars.squeeze(key): value for key, value in sample.items()}
    for key in _FILE_KEYS:
        spoken = by_key.get(key)
        file, far = file_name(values.clean_text(spoken)) if isinstance(spoken, str) else ("", "")
        if file:
            break
    else:
        return None
    fields = sidecars.canonical(sample)
    tag = metadata.get("custom_tag")
    if "tag" not in fields and isinstance(tag, str) and not values.is_blank(tag):
        fields["tag"] = tag
    if metadata.get("all_instrumental") is True and "instrumental" not in fields:
        fields["instrumental"] = True
    return Row(file, fields, far)
