"""The environment in one report: versions, devices, folders; what a bug report should contain."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import sidestep_tui
from sidestep_tui.core import env, nvml, paths, text

PACKAGES = (
    "torch",
    "torchaudio",
    "diffusers",
    "transformers",
    "peft",
    "lycoris-lora",
    "accelerate",
    "bitsandbytes",
    "safetensors",
    "numpy",
    "soundfile",
    "textual",
    "pydantic",
)

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    group: str
    name: str
    value: str
    status: Status = "ok"
    hint: str = ""


def versions() -> dict[str, str]:
    """Versions that decide a run's numbers, from package metadata: nothing is imported."""
    found = {"python": platform.python_version(), "sidestep-tui": sidestep_tui.__version__}
    for name in ("torch", "diffusers", "transformers", "peft"):
        version = package_version(name)
        if version:
            found[name] = version
    return found


def package_version(name: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def examine() -> list[Finding]:
    """Every finding, in the order of the report."""
    return [*_system(), *_packages(), _audio(), *_devices(), *_folders(), *_terminal()]


def to_dict(findings: list[Finding]) -> dict[str, Any]:
    """The report as plain values, grouped, for JSON."""
    report: dict[str, Any] = {}
    for finding in findings:
        entry = {"value": finding.value, "status": finding.status}
        if finding.hint:
            entry["hint"] = finding.hint
        report.setdefault(finding.group, {})[finding.name] = entry
    return report


def _system() -> list[Finding]:
    host = nvml.host()
    available = host.ram_total - host.ram_used
    return [
        Finding("system", "sidestep-tui", sidestep_tui.__version__),
        Finding("system", "Python", f"{platform.python_version()} at {sys.executable}"),
        Finding("system", "platform", platform.platform()),
        Finding("system", "CPU cores", str(os.cpu_count() or 1)),
        Finding(
            "system",
            "memory",
            f"{text.gibibytes(available)} free of {text.gibibytes(host.ram_total)}",
            "warn" if available < 2 * 1024**3 else "ok",
            "Close other programs before encoding." if available < 2 * 1024**3 else "",
        ),
    ]


def _packages() -> list[Finding]:
    findings = []
    found = {name: package_version(name) for name in PACKAGES}
    for name, version in found.items():
        optional = name == "bitsandbytes" and sys.platform == "darwin"
        if version is None and not optional:
            findings.append(
                Finding("packages", name, "missing", "fail", f"Install it again: uv sync, or pip install {name}.")
            )
        elif version is not None:
            findings.append(Finding("packages", name, version))
    torch, audio = found["torch"], found["torchaudio"]
    if torch and audio and torch.split(".")[:2] != audio.split(".")[:2]:
        findings.append(
            Finding(
                "packages",
                "torch pair",
                f"torch {torch} with torchaudio {audio}",
                "fail",
                "They must be of the same release, or transformers and peft fail to import.",
            )
        )
    return findings


def _audio() -> Finding:
    """Which formats libsndfile reads here: some distributions ship it without mp3."""
    try:
        import soundfile  # loads a native library, which may be missing
    except (ImportError, OSError) as error:
        return Finding("packages", "libsndfile", str(error), "fail", "Install libsndfile, or soundfile from a wheel.")
    formats, subtypes = soundfile.available_formats(), soundfile.available_subtypes("OGG")
    able = {"wav": "WAV" in formats, "flac": "FLAC" in formats, "ogg": "OGG" in formats}
    able |= {"mp3": "MP3" in formats or "MPEG" in formats, "opus": "OPUS" in subtypes}
    missing = [name for name, is_able in able.items() if not is_able]
    value = f"{soundfile.__libsndfile_version__} reads {text.listing([name for name in able if able[name]], most=5)}"
    hint = f"Install a newer libsndfile to read {text.listing(missing)}." if missing else ""
    return Finding("packages", "libsndfile", value, "warn" if missing else "ok", hint)


def _devices() -> list[Finding]:
    gpus = nvml.gpus()
    if not gpus:
        hint = (
            "Without an NVIDIA GPU and its driver, training runs on the CPU: fine for the demo, slow for real models."
        )
        return [Finding("devices", "GPU", "none found", "warn", hint)]
    version = package_version("torch") or ""
    if version.endswith("+cpu"):
        hint = "Install the CUDA build of torch and torchaudio."
        return [Finding("devices", "GPU", f"{len(gpus)} found, but torch {version} cannot use it", "fail", hint)]
    return [
        Finding(
            "devices", f"GPU {gpu.index}", f"{gpu.name}, {text.gibibytes(gpu.free)} free of {text.gibibytes(gpu.total)}"
        )
        for gpu in gpus
    ]


def _folders() -> list[Finding]:
    findings = []
    for name, path in (("settings", paths.config_dir()), ("state", paths.state_dir()), ("cache", paths.cache_dir())):
        writable = os.access(path, os.W_OK)
        free = shutil.disk_usage(paths.existing_ancestor(path)).free
        findings.append(
            Finding(
                "folders",
                name,
                f"{paths.shorten(path)}, {text.file_size(free)} free" + ("" if writable else ", not writable"),
                "ok" if writable else "fail",
                "" if writable else "Give your user write permission there.",
            )
        )
    here = Path.cwd()
    findings.append(
        Finding("folders", "here", f"{paths.shorten(here)}, {text.file_size(shutil.disk_usage(here).free)} free")
    )
    return findings


def _terminal() -> list[Finding]:
    facts = env.terminal_facts()
    words = [f"{facts.term or 'TERM unset'}, {facts.columns}x{facts.rows}"]
    known = (
        (facts.over_ssh, "over SSH"),
        (facts.in_tmux, "in tmux or screen"),
        (facts.no_color, "without colour"),
        (facts.ascii_only, "ASCII only"),
    )
    words += [word for is_so, word in known if is_so]
    return [
        Finding("terminal", "terminal", ", ".join(words), "ok" if facts.usable else "warn", facts.problem),
    ]
