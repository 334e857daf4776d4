"""At run time, too: the terminal side never loads a model library, the engine's protocol side never a terminal one.

Deferred imports escape the static contracts; `sys.modules` of a fresh interpreter does not lie.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "torchaudio", "numpy", "transformers", "diffusers", "peft", "safetensors", "lycoris", "bitsandbytes")
TERMINAL = ("textual", "rich", "click")


def loaded_by(statement: str) -> set[str]:
    """Top-level modules in a fresh interpreter after `statement`."""
    code = (
        f"import json, sys\n{statement}\nprint(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return set(json.loads(result.stdout.splitlines()[-1]))


def modules_of(package: str) -> str:
    """A statement that imports every module of a package."""
    return (
        "import importlib, pkgutil\n"
        f"import {package} as package\n"
        "for info in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "    if not info.name.endswith('__main__'):\n"
        "        importlib.import_module(info.name)"
    )


@pytest.mark.parametrize("package", ["core", "schema", "protocol", "dataset", "launch", "cli", "ui"])
def test_the_terminal_side_loads_no_model_library(package: str) -> None:
    assert not loaded_by(modules_of(f"sidestep_tui.{package}")) & set(HEAVY)


@pytest.mark.parametrize("package", ["core", "schema", "protocol", "dataset"])
def test_what_the_engine_shares_loads_no_terminal_library(package: str) -> None:
    assert not loaded_by(modules_of(f"sidestep_tui.{package}")) & set(TERMINAL)


@pytest.mark.parametrize("module", ["reporter", "control", "fake", "fake_history", "__main__"])
def test_the_torch_free_part_of_the_engine_is_free_of_both(module: str) -> None:
    loaded = loaded_by(f"import sidestep_tui.engine.{module}")
    assert not loaded & {*HEAVY, *TERMINAL}


def test_opening_the_interface_loads_no_model_library_and_no_network() -> None:
    loaded = loaded_by("import sidestep_tui.cli.main, sidestep_tui.ui.app")
    assert not loaded & {*HEAVY, "requests", "httpx", "huggingface_hub"}


def test_the_first_frame_waits_for_textual_and_little_else() -> None:
    """Each module that this grows by is time before the first picture: defer it to where it is used."""
    code = (
        "import sidestep_tui.cli.main, sidestep_tui.ui.app, sidestep_tui.ui.screens.wizard.screen, sys\n"
        "ours = [name for name in sys.modules if name.startswith('sidestep_tui.')]\n"
        "assert len(ours) <= 45, sorted(ours)\n"
        "assert not {'sidestep_tui.ui.palette', 'sidestep_tui.ui.everykey', 'sidestep_tui.schema.settings'} & set(ours)"
    )
    assert not loaded_by(code) & {*HEAVY, "pydantic", "click", "psutil", "pynvml", "tomlkit", "soundfile"}


def test_the_bare_command_line_loads_neither_textual_nor_the_schema() -> None:
    assert not loaded_by("import sidestep_tui.cli.main") & {"textual", "rich", "pydantic", "psutil", "pynvml"}


def test_the_engine_loads_no_terminal_library() -> None:
    """With torch: what really runs in a training process."""
    assert not loaded_by(modules_of("sidestep_tui.engine")) & set(TERMINAL)
