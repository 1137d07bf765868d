"""Download a dataset once, whoever asks for it, and never leave half of one where a whole one is looked for."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.core.storage import files

# dataset's folder -> is it whole; data folder to download into
Complete: TypeAlias = Callable[[Path], bool]
Fetch: TypeAlias = Callable[[Path], object]

# torchvision leaves what it has unpacked beside what was in it.
ARCHIVES = (".gz", ".tar", ".tgz", ".zip")


def require(name: str, *modules: str, install: str = "adaptertune-deploy[train]") -> None:
    """Raise DatasetError unless the modules that dataset `name` needs are installed; call it before a download.

    Args:
        name: of the dataset, for the message.
        modules: to be imported later.
        install: what pip should install to get them.
    """
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise DatasetError(f"{name}: needs {module}; install it with: pip install '{install}'")


def ensure(name: str, root: Path, folder: str, complete: Complete, fetch: Fetch, hint: str) -> None:
    """See that `root`/`folder` holds the dataset, downloading it when it does not.

    The download goes to a folder beside it that takes its place when whole; a second process waits for the first
    and then finds the dataset. After a failure the archives that arrived stay there for the next attempt.

    Args:
        name: of the dataset, for messages and for the lock file.
        root: the folder given by --data-dir.
        folder: the dataset's folder below `root`; "" when its files lie in `root` itself.
        complete: tells whether a folder holds the whole dataset.
        fetch: downloads into a root, as torchvision's dataset classes do with download=True.
        hint: what the folder should hold and how to get it by hand.

    Raises:
        DatasetError: it can't be downloaded; the message says why and ends with `hint`.
    """
    if complete(root / folder):
        return
    what = f"{folder}/" if folder else name
    for place in (root / name, *([root.absolute().parent] if root.absolute().name == folder else [])):
        if complete(place / folder):
            raise DatasetError(f"{name}: {root} holds no {what}, but {place} does; use --data-dir {place}")
    try:
        with _made(root), files.locked(root / f".{name}.lock"):
            if not complete(root / folder):
                _fetch(root / f".{name}.download", root / folder, fetch)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DatasetError(f"{name}: not found in {root} and not downloadable ({reason:.200}); {hint}") from None
    if not complete(root / folder):
        raise DatasetError(f"{name}: the download to {root} is incomplete; {hint}")


def _fetch(stage: Path, target: Path, fetch: Fetch) -> None:
    try:
        fetch(stage)
    finally:
        if not any(path.is_file() for path in stage.rglob("*")):
            shutil.rmtree(stage, ignore_errors=True)
    if stage.parent == target:
        # Each file whole, so the dataset is complete when the last one is there; what is there already stays.
        for path in [path for path in stage.iterdir() if not (target / path.name).exists()]:
            path.rename(target / path.name)
    else:
        if target.exists():
            raise OSError(f"{target} is there but incomplete; remove it first")
        for folder in (stage / target.name, stage / target.name / "raw"):
            for archive in [path for path in folder.glob("*") if path.suffix in ARCHIVES]:
                archive.unlink()
        (stage / target.name).rename(target)
    shutil.rmtree(stage)


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make a folder and those above it; the ones that nothing came into are removed again."""
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        for place in new:
            with contextlib.suppress(OSError):  # somebody else has put something there, or removed it
                place.rmdir()
