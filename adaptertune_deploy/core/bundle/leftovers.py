"""Files of a bundle that no manifest names: what a change leaves over, and what killed writers left behind."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from adaptertune_deploy.core.storage import files

LOCK_NAME = ".lock"
# The shared graph's name has held its precision since format version 2.
OWN_FILE = re.compile(
    r"backbone-([a-z0-9-]+-)?[0-9a-f]{8}\.onnx|adapters/.+-[0-9a-f]{8}\.safetensors|merged/.+-[0-9a-f]{8}\.onnx"
)


def is_own(folder: Path, path: Path) -> bool:
    """Return whether a path below a folder without manifest is what a killed first export leaves there."""
    file = path.relative_to(folder).as_posix()
    if path.is_dir():
        return file in ("adapters", "merged")
    return file == LOCK_NAME or OWN_FILE.fullmatch(file) is not None or files.STAGE.fullmatch(path.name) is not None


def sweep(folder: Path, named: Sequence[str], tell: Callable[[str], None]) -> None:
    """Remove what killed writers left: half-written files, and whole ones that no manifest names.

    Args:
        folder: the bundle, whose lock is held.
        named: the files that its manifest names.
        tell: called with what was removed and what could not be.
    """
    known = set(named)
    left = []
    for path in (*folder.glob("*"), *folder.glob("adapters/*"), *folder.glob("merged/*")):
        file = path.relative_to(folder).as_posix()
        orphan = OWN_FILE.fullmatch(file) is not None and file not in known
        if path.is_file() and (orphan or files.STAGE.fullmatch(path.name)):
            left.append(path)
    removed = remove(folder, left, tell)
    if removed:
        tell(f"removed {_counted(removed)} that a killed run had left behind ({min(removed)})")


def remove(folder: Path, paths: Sequence[Path], tell: Callable[[str], None]) -> list[Path]:
    """Remove files that no manifest names, and the folders that they leave empty.

    What can't be removed harms nobody, so it is told of and left for the next writer.

    Args:
        folder: the bundle.
        paths: files below it; some may be gone already.
        tell: called with what could not be removed.

    Returns:
        What lies there no more.
    """
    kept: dict[Path, str] = {}
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            kept[path] = error.strerror or str(error)
    for place in {path.parent for path in paths} - {folder}:
        with contextlib.suppress(OSError):
            place.rmdir()  # only when nothing is left in it
    if kept:
        first = min(kept)
        tell(
            f"could not remove {_counted(kept)} that no manifest names ({first}: {kept[first]}); mend that, and the "
            "next change tries again"
        )
    return [path for path in paths if path not in kept]


def _counted(paths: Collection[Path]) -> str:
    return "a file" if len(paths) == 1 else f"{len(paths)} files"
