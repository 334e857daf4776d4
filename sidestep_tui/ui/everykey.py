"""Every binding of the interface with the part that owns it: for the list of keys, and to check a user's keymap."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from textual.binding import Binding
from textual.dom import DOMNode

import sidestep_tui.ui
from sidestep_tui.core.text import did_you_mean
from sidestep_tui.ui.keymap import key_problem


class Key(NamedTuple):
    """A binding and the class that brings it."""

    owner: type[DOMNode]
    binding: Binding

    @property
    def keys(self) -> list[str]:
        """The keys that reach it, as Textual calls them."""
        return [key.strip() for key in self.binding.key.split(",")]


def every_key() -> list[Key]:
    """All bindings of our own classes, in the order of their modules. Imports every screen, which takes a moment."""
    found = sorted(_owners(), key=lambda owner: (owner.__module__, owner.__qualname__))
    return [Key(owner, item) for owner in found for item in vars(owner)["BINDINGS"] if isinstance(item, Binding)]


def _owners() -> Iterator[type[DOMNode]]:
    """Our classes that bring bindings of their own."""
    package = sidestep_tui.ui
    for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(info.name)
    seen: set[type[DOMNode]] = set()
    waiting: list[type[DOMNode]] = [DOMNode]
    while waiting:
        for kind in waiting.pop().__subclasses__():
            if kind in seen:
                continue
            seen.add(kind)
            waiting.append(kind)
            if kind.__module__.startswith(package.__name__ + ".") and vars(kind).get("BINDINGS"):
                yield kind


def keymap_problems(keymap: Mapping[str, str], keys: list[Key]) -> list[str]:
    """What is wrong with a user's keymap, in sentences: unknown ids, keys that never arrive, keys already taken."""
    ids = sorted({key.binding.id for key in keys if key.binding.id})
    problems = []
    for name, wanted in keymap.items():
        if name not in ids:
            problems.append(f"'{name}' is no action. {did_you_mean(name, ids)}".strip())
            continue
        for pressed in [key.strip() for key in wanted.split(",")]:
            if problem := key_problem(pressed):
                problems.append(f"'{pressed}' for {name} {problem}.")
            elif taken := _taken(pressed, name, keymap, keys):
                problems.append(f"'{pressed}' for {name} is {taken.binding.id} ({taken.binding.description}) already.")
    return problems


def _taken(pressed: str, name: str, keymap: Mapping[str, str], keys: list[Key]) -> Key | None:
    """Another action that answers to a key where `name` is to be reached by it."""
    owners = [key.owner for key in keys if key.binding.id == name]
    for key in keys:
        if key.binding.id == name:
            continue
        now = [part.strip() for part in keymap.get(key.binding.id or "", key.binding.key).split(",")]
        if pressed in now and any(issubclass(a, key.owner) or issubclass(key.owner, a) for a in owners):
            return key
    return None
