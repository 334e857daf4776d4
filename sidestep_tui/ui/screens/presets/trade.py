"""Presets that come from elsewhere and go elsewhere: opened by path, pasted, imported, exported."""

from __future__ import annotations

from pathlib import Path

from textual import events, work

from sidestep_tui.core import atomic, paths, text
from sidestep_tui.core.errors import SidestepError
from sidestep_tui.schema import export_side_step, importers, preset_check, presets
from sidestep_tui.schema.fields import fields_by_path
from sidestep_tui.schema.importers import ImportReport
from sidestep_tui.schema.layers import Layer, resolve
from sidestep_tui.schema.preset_file import Preset
from sidestep_tui.ui.dialogs.confirm import Tell
from sidestep_tui.ui.dialogs.presets import AskPath, ShowImport
from sidestep_tui.ui.dialogs.text import AskText
from sidestep_tui.ui.dialogs.typed import TypeWord
from sidestep_tui.ui.screens.presets.actions import PresetsActions

_MOST_LISTED = 12
_LONGEST_PATH = 4096


class PresetsTrade(PresetsActions):
    """The part of the browser that deals with files of others, and with files for others."""

    @work(group="dialog", exclusive=True)
    async def action_import_file(self) -> None:
        """Translate a preset of another trainer."""
        typed = await self.app.push_screen_wait(
            AskPath(
                "Import a preset",
                "A preset of Side-Step, ace-lora-trainer or another trainer (JSON, YAML), an adapter_config.json, a"
                " run.toml, or any text with settings. First you see what becomes of every key. The settings of a"
                " guide or a script can also be pasted into the list, without a file.",
                check=_nothing_there,
                suffixes=("",),
            )
        )
        if typed:
            await self._import_file(paths.expand(typed.strip()))

    @work(group="dialog", exclusive=True)
    async def action_open(self) -> None:
        """List a preset by its path."""
        typed = await self.app.push_screen_wait(
            AskPath(
                "Open by path",
                "A preset, a run.toml or the folder of a run. Files of other trainers are imported.",
                check=_nothing_there,
            )
        )
        if typed:
            await self._open(typed.strip())

    def on_paste(self, event: events.Paste) -> None:
        """A pasted path is opened; pasted settings are imported."""
        if self.has_class("-filtering") or not event.text.strip():
            return
        event.stop()
        # A terminal sends the key of the end of a line, which is a carriage return.
        self._take_pasted(event.text.replace("\r\n", "\n").replace("\r", "\n"))

    @work(group="dialog", exclusive=True)
    async def _take_pasted(self, pasted: str) -> None:
        line = pasted.strip().strip("'\"")
        if "\n" not in line and len(line) < _LONGEST_PATH and paths.expand(line).exists():
            await self._open(line)
            return
        try:
            report = importers.import_text(pasted, shown="What was pasted")
        except SidestepError as error:
            self.app.tell(error)
            return
        await self._show_import("what was pasted", report)

    async def _open(self, typed: str) -> None:
        path = paths.expand(typed)
        if preset_check.is_foreign(str(path)):
            await self._import_file(path)
            return
        path = path / "run.toml" if path.is_dir() else path
        if path not in self.opened:
            self.opened.append(path)
        self.look(self.opened, str(path))

    async def _import_file(self, path: Path) -> None:
        try:
            report = importers.import_preset(path)
        except SidestepError as error:
            self.app.tell(error)
            return
        await self._show_import(path.name, report)

    async def _show_import(self, source: str, report: ImportReport) -> None:
        answer = await self.app.push_screen_wait(ShowImport(source, report))
        if answer == "apply":
            await self.start_from(report.name, [Layer(f"import {report.name}", report.values)])
        elif answer == "save":
            await self._keep_import(source, report)

    async def _keep_import(self, source: str, report: ImportReport) -> None:
        name = await self.app.push_screen_wait(
            AskText(
                "Save the import",
                f"A name for {text.plural(len(report.values), 'setting')} from {source}.",
                value=report.own_name,
                check=presets.name_problem,
            )
        )
        if not name:
            return
        self.keep(
            lambda: (
                presets.save(
                    name,
                    report.values,
                    f"Imported from {source} ({report.source_format}).",
                    description=report.description or f"From {source}.",
                    provenance=report.provenance(source),
                ).path
            ),
            f"{name} is yours now",
        )

    @work(group="dialog", exclusive=True)
    async def action_export(self) -> None:
        """Write the preset to a file that stands on its own."""
        item = self.listing.current
        if item is None or item.preset is None:
            return
        source = item.preset
        typed = await self.app.push_screen_wait(
            AskPath(
                f"Export {source.name}",
                "A file or folder to write it to, on its own: with the values of what it extends. A name that ends in"
                " .json makes a preset of Side-Step.",
                value=f"{source.name}.toml",
                check=_not_writable,
                suffixes=(".toml", ".json"),
            )
        )
        if not typed:
            return
        target = _target(typed, source.name)
        if target.exists() and not await self.app.push_screen_wait(
            TypeWord("Overwrite", f"{paths.shorten(target)} exists. What is in it would be lost.", target.name)
        ):
            return
        words = f"wrote {paths.shorten(target)}"
        if target.suffix.lower() == ".json":
            self.keep(lambda: self._write_side_step(source, target), words, look=False)
        else:
            self.keep(lambda: presets.export(source, target, overwrite=True), words, look=False)

    def _write_side_step(self, preset: Preset, target: Path) -> Path:
        """Write a preset of Side-Step; say what that has no word for."""
        values = resolve(preset.layers()).values
        made = export_side_step.export(values, name=preset.name, description=preset.description)
        atomic.write_text(target, made.text())
        if made.left_out:
            specs = fields_by_path()
            lines = [f"{path} = {specs[path].write(value)}" for path, value in made.left_out.items()]
            more = [f"and {len(lines) - _MOST_LISTED} more"] if len(lines) > _MOST_LISTED else []
            self.app.push_screen(
                Tell("Side-Step has no word for these", "\n".join(lines[:_MOST_LISTED] + more), "The rest is there.")
            )
        return target


def _target(typed: str, name: str) -> Path:
    path = paths.expand(typed.strip())
    return path / f"{presets.safe_name(name)}.toml" if path.is_dir() else path


def _nothing_there(typed: str) -> str:
    return "" if typed.strip() and paths.expand(typed.strip()).exists() else "There is no such file yet."


def _not_writable(typed: str) -> str:
    path = paths.expand(typed.strip())
    if path.is_dir():
        return ""
    if path.suffix.lower() not in (".toml", ".json"):
        return "The name ends in .toml, or in .json for Side-Step."
    return "" if path.parent.is_dir() else f"There is no folder {paths.shorten(path.parent)}."
