"""The folder that a quickstart works in: its own results may be replaced, anything else in it stops it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from adaptertune_deploy.cli.terminal import interrupts
from adaptertune_deploy.core.adapter import folder as artefact
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.errors import FormatError, UsageError
from adaptertune_deploy.core.storage import files
from adaptertune_deploy.model.names import EMBEDDED_BACKBONE

ADAPTERS, BUNDLE = "adapters", "bundle"
# Two adapters, one shared and two merged graphs, with room for the copy that takes a former one's place.
ROOM_BYTES = 60_000_000


def prepare(out: Path, tasks: Sequence[str]) -> tuple[str, ...]:
    """Check that a folder is free for a quickstart; nothing is written.

    Args:
        out: the folder; it need not exist.
        tasks: names of the tasks that will lie in it.

    Returns:
        Sentences to tell.

    Raises:
        UsageError: it holds something that no quickstart made, or can't be written.
    """
    found = _foreign(out, tasks)
    if found:
        raise UsageError(f"--out {out}: holds {found}, which no quickstart made; give another folder: --out FOLDER")
    files.check_writable(out, "--out", ROOM_BYTES)
    if _inside(out):
        return (f"{out}/ holds a former quickstart; its adapters and its bundle are replaced",)
    return ()


def finished(out: Path, tasks: Sequence[str]) -> Callable[[], str]:
    """Return a function that says which parts of a quickstart were finished since this call."""
    parts = {f"{out}/{ADAPTERS}/{task}": out / ADAPTERS / task / artefact.CONFIG_NAME for task in tasks}
    parts[f"{out}/{BUNDLE}"] = out / BUNDLE / bundle.MANIFEST_NAME
    written = {name: interrupts.watch(file) for name, file in parts.items()}

    def kept() -> str:
        done = [name for name, is_written in written.items() if is_written()]
        if not done:
            return "nothing was written"
        rest = "" if len(done) == len(parts) else ", the rest is not"
        return f"{' and '.join(done)} {'is' if len(done) == 1 else 'are'} finished{rest}"

    return kept


def _foreign(out: Path, tasks: Sequence[str]) -> str:
    """Return what lies in the folder and was not made by a quickstart, "" when there is nothing."""
    if out.exists() and not out.is_dir():
        return "no folder but a file"
    ours = (*tasks, ADAPTERS, BUNDLE)
    for path in _inside(out):
        if path.name not in (ADAPTERS, BUNDLE) and not _is_left_over(path.name, ours):
            return path.name
    for path in _inside(out / ADAPTERS):
        if not _is_left_over(path.name, ours) and (path.name not in tasks or not _is_embedded(path)):
            return f"{ADAPTERS}/{path.name}"
    if not _inside(out / BUNDLE):
        return ""
    try:
        manifest = bundle.read_manifest(out / BUNDLE)
    except FormatError:
        return f"{BUNDLE}/"
    foreign = [record.task.name for record in manifest.tasks if record.task.name not in tasks]
    if foreign:
        return f"the task '{foreign[0]}' in {BUNDLE}/"
    return f"{BUNDLE}/" if manifest.backbone.name != EMBEDDED_BACKBONE else ""


def _inside(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _is_left_over(name: str, ours: Sequence[str]) -> bool:
    """Tell whether a killed run left this beside one of its folders: a stage or a lock, ".digits.lock"."""
    return name.startswith(".") and name[1:].partition(".")[0] in ours


def _is_embedded(folder: Path) -> bool:
    try:
        return artefact.read_config(folder).backbone.name == EMBEDDED_BACKBONE
    except FormatError:
        return False
