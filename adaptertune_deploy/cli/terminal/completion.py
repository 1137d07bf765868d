"""Values that the shell offers after an option; nothing heavy is imported, and nothing ever fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import typer

from adaptertune_deploy.cli.terminal.text import UNSAFE
from adaptertune_deploy.core.errors import AtdError
from adaptertune_deploy.core.precision import Precision

Completer = Callable[[str], list[str]]


def _one_of(*values: str) -> Completer:
    def complete(incomplete: str) -> list[str]:
        return [value for value in values if value.startswith(incomplete)]

    return complete


forms = _one_of("auto", "shared", "merged")
devices = _one_of("auto", "cpu", "cuda", "cuda:0")
placements = _one_of("all", "last:4", "every:2", "3,7,11")
logs = _one_of("csv", "tensorboard", "csv,tensorboard")
candidates = _one_of("auto", "adapter", "head", "full")
training_precisions = _one_of("auto", "fp32", "bf16", "fp16")
precisions = _one_of(*(precision.value for precision in Precision))
methods = _one_of("adapter", "head", "full")
class_weights = _one_of("balanced", "none")
presets = _one_of("auto", "fine", "small", "shapes", "signs", "digits", "digits-in-scene", "plain")
splits = _one_of("train", "test")
targets = _one_of("triton")
log_formats = _one_of("text", "json")
log_levels = _one_of("debug", "info", "warning", "error")


def datasets(incomplete: str) -> list[str]:
    """Return the datasets of the table, then folders and lists of images."""
    from adaptertune_deploy.data.table import LIST_SUFFIXES, TABLE

    return [name for name in TABLE if name.startswith(incomplete)] + _folders(incomplete, LIST_SUFFIXES)


def engines(incomplete: str) -> list[str]:
    """Return the engines of the table."""
    from adaptertune_deploy.engines.table import ENGINES

    return [name for name in ENGINES if name.startswith(incomplete)]


def engine_list(incomplete: str) -> list[str]:
    """Return a comma-separated list of engines of the table, one longer than what was typed."""
    return _next_of_list(engines(""), incomplete)


def precision_list(incomplete: str) -> list[str]:
    """Return a comma-separated list of precisions, one longer than what was typed."""
    return _next_of_list(precisions(""), incomplete)


def engine_settings(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return NAME=VALUE of the settings that the named engine has; NAME= alone where any number may follow."""
    from adaptertune_deploy.engines.options import settings_of
    from adaptertune_deploy.engines.table import ENGINES

    entry = ENGINES.get(str(ctx.params.get("engine") or "onnxruntime"))
    offered = [] if entry is None else [word for held in settings_of(entry.settings).values() for word in held.words]
    return [word for word in offered if word.startswith(incomplete)]


def trained_tasks(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return a comma-separated list of trained tasks, one longer than what was typed."""
    return _next_of_list([folder.name for folder in _adapters(_place(ctx, "adapters_dir", "adapters"))], incomplete)


def trained_task(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return trained tasks."""
    names = [folder.name for folder in _adapters(_place(ctx, "adapters_dir", "adapters"))]
    return [name for name in names if name.startswith(incomplete)]


def served_tasks(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return a comma-separated list of the bundle's tasks, one longer than what was typed."""
    from adaptertune_deploy.core.bundle.folder import read_manifest

    try:
        manifest = read_manifest(_place(ctx, "bundle", "bundle"))
    except (AtdError, OSError):
        return []
    return _next_of_list([record.task.name for record in manifest.tasks], incomplete)


def adapter_folders(incomplete: str) -> list[str]:
    """Return adapter folders: those in adapters/, or below the folder that was typed."""
    base = incomplete.rpartition("/")[0]
    found = [str(folder) for folder in _adapters(Path(base or "adapters"))]
    return [path for path in found if path.startswith(incomplete)] or _folders(incomplete)


def _place(ctx: typer.Context, name: str, usual: str) -> Path:
    return Path(str(ctx.params.get(name) or usual))


def _adapters(root: Path) -> Iterable[Path]:
    from adaptertune_deploy.core.adapter.folder import list_adapters

    try:
        return _safe(list_adapters(root))
    except OSError:
        return []


def bundles(incomplete: str) -> list[str]:
    """Return folders."""
    return _folders(incomplete)


def inspected(incomplete: str) -> list[str]:
    """Return folders, ONNX files and what TensorRT made."""
    return _folders(incomplete, (".onnx", ".plan", ".timing"))


def _folders(incomplete: str, suffixes: tuple[str, ...] = ()) -> list[str]:
    """Return folders, ended by a slash, and files with one of the suffixes."""
    base, slash, start = incomplete.rpartition("/")
    try:
        inside = sorted(Path((base + slash) or ".").iterdir())
        found = [path for path in inside if path.name.startswith(start or "") and path.name[0] != "."]
        kept = [path for path in found if path.is_dir() or path.name.lower().endswith(suffixes)]
    except OSError:
        return []
    return [f"{base}{slash}{path.name}{'/' if path.is_dir() else ''}" for path in _safe(kept)]


def _safe(paths: Iterable[Path]) -> list[Path]:
    """Leave out names with control characters: the shell would put them on the command line as they are."""
    return [path for path in paths if UNSAFE.search(str(path)) is None]


def _next_of_list(known: list[str], incomplete: str) -> list[str]:
    before, comma, start = incomplete.rpartition(",")
    used = before.split(",")
    return [f"{before}{comma}{name}" for name in known if name.startswith(start) and name not in used]
