"""Changes to a bundle: one writer at a time, new files first, then the manifest, then the old files go.

The folder itself is never exchanged, so a bundle may be the current folder or a mount point, and what else lies in it
stays. Whoever is killed leaves files that no manifest names; the next writer removes and names them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from adaptertune_deploy.core import adapter as adapters
from adaptertune_deploy.core import bundle, files
from adaptertune_deploy.core.adapter import Adapter, AdapterConfig, Identity
from adaptertune_deploy.core.bundle import Manifest, TaskRecord
from adaptertune_deploy.core.errors import FormatError

LOCK_NAME = ".lock"
OWN_FILE = re.compile(r"backbone-[0-9a-f]{8}\.onnx|adapters/.+-[0-9a-f]{8}\.safetensors|merged/.+-[0-9a-f]{8}\.onnx")
Tell = Callable[[str], None]


def silent(sentence: str) -> None:
    """Tell nobody."""


class Writer:
    """A bundle under change, whose lock is held.

    Attributes:
        old: the manifest that stood there when the lock was taken; None for a new bundle.
    """

    def __init__(self, folder: Path, old: Manifest | None) -> None:
        self.old = old
        self._folder = folder
        self._written: list[Path] = []

    def write(self, file: str, data: bytes) -> None:
        """Write a file below the bundle; nobody reads it before a manifest that names it is published."""
        path = self._folder / file
        with contextlib.suppress(FormatError):
            if files.read_regular(path, len(data)) == data:
                return
        files.write_bytes(path, data)
        self._written.append(path)

    def write_task(self, adapter: Adapter, config: AdapterConfig) -> TaskRecord:
        """Write what ships of a task into the bundle, nothing else of its folder, and return its record."""
        data = adapters.pack(adapter.tensors, Identity(adapter.task, config.backbone, config.preprocess))
        sha256 = files.sha256_bytes(data)
        name = bundle.tensor_file(adapter.task.name, sha256)
        self.write(name, data)
        return TaskRecord(adapter.task, name, sha256)

    def publish(self, manifest: Manifest) -> None:
        """Make `manifest` what the bundle holds, and remove the files that only the old one named."""
        bundle.write_manifest(self._folder, manifest)
        self._written.clear()
        stale = set(self.old.files if self.old else ()) - set(manifest.files)
        _remove(self._folder, [self._folder / file for file in sorted(stale)])
        self.old = manifest

    def undo(self) -> None:
        """Remove what was written and not published, as the manifest on the disk says: a signal may come between."""
        there = (self._folder / bundle.MANIFEST_NAME).exists()
        named = set(bundle.read_manifest(self._folder).files if there else ())
        unnamed = [path for path in self._written if path.relative_to(self._folder).as_posix() not in named]
        _remove(self._folder, unnamed)


@contextmanager
def writing(folder: Path, tell: Tell = silent) -> Iterator[Writer]:
    """Hold a bundle's lock for the length of a `with` block; after an error the bundle is as it was.

    Args:
        folder: a bundle, an empty folder, or a place where there is none yet.
        tell: called with what a person should know: that another writer is waited for, what a killed one left behind.

    Raises:
        FormatError: the manifest there can't be read.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with files.locked(folder / LOCK_NAME, lambda: tell(f"waiting for another atd that writes {folder}/")):
            there = (folder / bundle.MANIFEST_NAME).exists()
            writer = Writer(folder, bundle.read_manifest(folder) if there else None)
            _sweep(folder, writer.old, tell)
            try:
                yield writer
            except BaseException:
                writer.undo()
                raise
    except BaseException:
        for place in made:
            with contextlib.suppress(OSError):
                place.rmdir()
        raise


def add_task(folder: Path, source: Path, tell: Tell = silent, ship: str | None = None) -> TaskRecord:
    """Add a trained task to a bundle, or replace the task of that name; needs no torch and traces nothing.

    Args:
        folder: the bundle.
        source: the folder adapters/<task>/.
        tell: called with what a person should know: what is replaced or goes, and see `writing`.
        ship: the candidate, "adapter" or "head"; None takes the one that training chose.

    Returns:
        The new record. Its parity is None: the graph was verified before, this task's answers were not. A task that
        the bundle holds already keeps its record.

    Raises:
        FormatError: a damaged adapter, another backbone or preprocessing, no slot for a block, no shared graph, or
            values that overflow float32.
        UsageError: the adapter was asked for, and the task was trained with rank 0.
    """
    from adaptertune_deploy.core import bank

    bundle.read_manifest(folder)  # so that a mistyped folder is not made
    config, adapter = adapters.read_adapter(source, ship)
    bank.folded(adapter)
    with writing(folder, tell) as writer:
        manifest = writer.old or bundle.read_manifest(folder)
        bundle.check_same_model(config, manifest.backbone, manifest.preprocess, str(folder))
        if manifest.shared is None:
            raise FormatError(
                f"{folder}: holds merged graphs only, which take no new task; run atd export without --no-shared"
            )
        bank.check_slots(adapter.task.name, adapter.task.adapter.blocks, manifest.slots)
        record = writer.write_task(adapter, config)
        old = next((held for held in manifest.tasks if held.task.name == record.task.name), None)
        if old is None:
            writer.publish(dataclasses.replace(manifest, tasks=(*manifest.tasks, record)))
            return record
        if (old.task, old.sha256) == (record.task, record.sha256):
            return old
        tell(f"replaced task '{old.task.name}' of {folder}/")
        if old.merged is not None:
            tell(f"removed {old.merged.file}, the merged graph of what it was; for a new one: atd export --merge")
        tasks = tuple(record if held is old else held for held in manifest.tasks)
        writer.publish(dataclasses.replace(manifest, tasks=tasks))
        return record


def is_own(folder: Path, path: Path) -> bool:
    """Return whether a path below a folder without manifest is what a killed first export leaves there."""
    file = path.relative_to(folder).as_posix()
    if path.is_dir():
        return file in ("adapters", "merged")
    return file == LOCK_NAME or OWN_FILE.fullmatch(file) is not None or files.STAGE.fullmatch(path.name) is not None


def _sweep(folder: Path, manifest: Manifest | None, tell: Tell) -> None:
    """Remove what killed writers left: half-written files, and whole ones that no manifest names."""
    named = set(manifest.files if manifest else ())
    left = []
    for path in (*folder.glob("*"), *folder.glob("adapters/*"), *folder.glob("merged/*")):
        file = path.relative_to(folder).as_posix()
        orphan = OWN_FILE.fullmatch(file) is not None and file not in named
        if path.is_file() and (orphan or files.STAGE.fullmatch(path.name)):
            left.append(path)
    if left:
        files_ = "a file" if len(left) == 1 else f"{len(left)} files"
        tell(f"removed {files_} that a killed run had left behind ({min(left)})")
        _remove(folder, left)


def _remove(folder: Path, paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
    for place in {path.parent for path in paths} - {folder}:
        with contextlib.suppress(OSError):
            place.rmdir()  # only when nothing is left in it
