"""Folders that this package wrote and that nobody means to learn from: adapters and bundles hold images too."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from adaptertune_deploy.core.adapter import folder as artefact
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.errors import UsageError

# How many entries of a folder are looked at: enough for adapters/, and a class folder may hold a million images.
MOST_ENTRIES = 200


def check_not_own(root: Path, name: str) -> None:
    """Refuse a dataset folder that is, lies in or holds an adapter folder or a bundle.

    Args:
        root: the folder.
        name: as it was given.

    Raises:
        UsageError: says what the folder is.
    """
    found = _kind(root) or _around(root.resolve()) or _inside(root)
    if found:
        raise UsageError(
            f"--dataset {name}: {found}, not images to learn from; give a folder with one folder per class"
        )


def _kind(folder: Path) -> str | None:
    if (folder / artefact.CONFIG_NAME).is_file():
        return "this is the folder of a trained adapter"
    if _is_bundle(folder):
        return "this is a bundle, which `atd export` wrote"
    trained = list(_trained(folder))
    return f"this is a folder of trained adapters ({', '.join(trained[:3])})" if trained else None


def _around(folder: Path) -> str | None:
    for parent in folder.parents:
        if (parent / artefact.CONFIG_NAME).is_file():
            return f"it lies in {parent}, the folder of a trained adapter"
        if folder.relative_to(parent).parts[0] in ("adapters", "merged") and _is_bundle(parent):
            return f"it lies in {parent}, a bundle"
    return None


def _inside(folder: Path) -> str | None:
    for child in _folders(folder):
        if _is_bundle(child):
            return f"it holds {child.name}/, a bundle"
        if any(True for _ in _trained(child)):
            return f"it holds {child.name}/, a folder of trained adapters"
    return None


def _trained(folder: Path) -> Iterator[str]:
    return (child.name for child in _folders(folder) if (child / artefact.CONFIG_NAME).is_file())


def _is_bundle(folder: Path) -> bool:
    # Other programs write a manifest.json too.
    return (folder / bundle.MANIFEST_NAME).is_file() and any(
        next(place.glob("*.onnx"), None) is not None for place in (folder, folder / "merged")
    )


def _folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry) for entry in itertools.islice(entries, MOST_ENTRIES) if entry.is_dir())
    except PermissionError:
        return []
