"""The place that a run will write: whether it may, and what it will replace there."""

from __future__ import annotations

import shlex
from pathlib import Path

from adaptertune_deploy.core.adapter import folder as artefact
from adaptertune_deploy.core.errors import FormatError, UsageError
from adaptertune_deploy.core.storage import files

ROOM = 32_000_000  # bytes: an adapter of a large backbone, its report and 32 photographs


def check_destination(out: Path, task: str, dataset: Path | None = None) -> tuple[str, ...]:
    """Refuse a place that can't be written or where something else lies, and clear what a killed run left there.

    Args:
        out: folder that holds the adapter folders.
        task: the new one's name.
        dataset: the folder of images that will be read, where it is one.

    Returns:
        What a person should read: leftovers that were removed, an adapter that will be replaced.

    Raises:
        UsageError: see check_place; `out`/<task> is no adapter folder.
    """
    check_place(out, dataset)
    folder = out / task
    if _is_taken(folder):
        raise UsageError(f"{folder} exists and is no adapter folder; move it away, or choose another --task or --out")
    return (*files.sweep(folder), *_replaced(folder))


def check_place(out: Path, dataset: Path | None = None) -> None:
    """Refuse a folder that can't be written, whatever is to lie in it.

    Args:
        out: the folder, which may be absent.
        dataset: the folder of images that will be read, where it is one.

    Raises:
        UsageError: `out` is a file or can't be written, or lies in the dataset.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out}: is a file, expected a folder")
    if dataset is not None and dataset.resolve() in (out.resolve(), *out.resolve().parents):
        raise UsageError(
            f"--out {out}: lies in the dataset's folder {dataset}, where the next run would take it for a class; "
            "choose another --out"
        )
    files.check_writable(out, "--out", ROOM)


def _is_taken(folder: Path) -> bool:
    return (folder.exists() or folder.is_symlink()) and not (folder / artefact.CONFIG_NAME).is_file()


def _replaced(folder: Path) -> tuple[str, ...]:
    if not folder.exists():
        return ()
    keep = f"to keep it: --task NAME, or cp -r {shlex.quote(str(folder))} FOLDER first"
    try:
        config = artefact.read_config(folder)
    except FormatError as error:
        return (f"{folder} will be replaced; it can't be read ({error})",)
    return (f"{folder} will be replaced ({_facts(config)}); {keep}",)


def _facts(config: artefact.AdapterConfig) -> str:
    rank = config.shipped().adapter.rank
    facts = [f"rank {rank}" if rank else "full fine-tuning" if config.ships == artefact.FULL else "head only"]
    top1 = config.metrics.get("test_top1_shipped")
    if top1 is not None:
        facts.append(f"{100 * top1:.1f} % of {config.dataset.test:,} test images")
    return ", ".join([*facts, f"trained on {config.dataset.name}", f"backbone {config.backbone.name}"])
