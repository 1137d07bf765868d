"""Images that exports need of a task: named by their hash, shipped only where they may travel.

    adapters/TASK/samples/00012_label.jpg       held-back images, on which graphs are verified
    adapters/TASK/calibration/00012_label.jpg   images that were trained on, which tell how far a graph's values reach
    the cache, samples/SHA256.jpg               those of either kind whose terms don't let them be handed on

Both are found through the records in adapter_config.json, and only with the bytes that the records vouch for.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.core.spec import check_sha256
from adaptertune_deploy.core.storage import files
from adaptertune_deploy.core.storage.cache import cache_folder

SAMPLES_NAME = "samples"
CALIBRATION_NAME = "calibration"
LABEL_CHARACTERS = 60
FILE_LIMIT = 1 << 28
FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,119}")


@dataclass(frozen=True)
class SampleRecord:
    """One image.

    file: its plain name below samples/ or calibration/, wherever the image itself lies.
    sha256: of the file's bytes.
    label: its true class.
    """

    file: str
    sha256: str
    label: str

    def __post_init__(self) -> None:
        if FILE_NAME.fullmatch(self.file) is None:
            raise ValueError(f"sample file {self.file!r:.80} must be 1 to 120 letters, digits, '.', '_' or '-'")
        check_sha256(self.sha256)


def keep(
    folder: Path, images: Iterable[tuple[bytes, str, str]], travel: bool, place: str = SAMPLES_NAME
) -> tuple[SampleRecord, ...]:
    """Keep images for the exports of a task and return their records.

    Args:
        folder: the adapter folder, or the stage that becomes it.
        images: (the file's bytes, its suffix with the dot, its label).
        travel: whether the images may be handed on. They are then written to `folder`/`place`/; if not, only to this
            machine's cache. Where that can't be written the records still say which images they were, and whoever
            exports gives other images.
        place: what they are for, SAMPLES_NAME or CALIBRATION_NAME.
    """
    records = []
    for number, (data, suffix, label) in enumerate(images):
        name = f"{number:05d}_{re.sub(r'[^A-Za-z0-9]+', '_', label)[:LABEL_CHARACTERS]}{suffix}"
        record = SampleRecord(name, files.sha256_bytes(data), label)
        if travel:
            files.write_bytes(folder / place / record.file, data)
        else:
            _cache(record, data)
        records.append(record)
    return tuple(records)


def find(
    folder: Path, records: Sequence[SampleRecord], place: str = SAMPLES_NAME
) -> tuple[tuple[SampleRecord, Path], ...]:
    """Return the recorded images that are here, each with its path: in `folder`/`place`/, else in the cache.

    A file whose bytes differ from its record is passed over, as one that is absent is.
    """
    found = []
    for record in records:
        for path in (folder / place / record.file, _cached(record)):
            if _holds(path, record.sha256):
                found.append((record, path))
                break
    return tuple(found)


def travelling(
    folder: Path, records: Sequence[SampleRecord], most: int, largest: int
) -> tuple[tuple[SampleRecord, bytes], ...]:
    """Return recorded images that may be handed on, each with its bytes: those in `folder`/samples/, never the cache's.

    A file that is absent, larger, or not what its record says is passed over.

    Args:
        folder: the adapter folder.
        records: in the order in which they are wanted.
        most: how many.
        largest: bytes of one.
    """
    found: list[tuple[SampleRecord, bytes]] = []
    for record in records:
        if len(found) == most:
            break
        with contextlib.suppress(FormatError):
            data = files.read_regular(folder / SAMPLES_NAME / record.file, largest)
            if files.sha256_bytes(data) == record.sha256:
                found.append((record, data))
    return tuple(found)


def read(folder: Path, records: Sequence[SampleRecord]) -> tuple[tuple[int, bytes], ...]:
    """Return the recorded images that are here, each with its place among the records; see `find`.

    The bytes are those that were compared with the record.
    """
    found = []
    for place, record in enumerate(records):
        for path in (folder / SAMPLES_NAME / record.file, _cached(record)):
            with contextlib.suppress(FormatError):
                data = files.read_regular(path, FILE_LIMIT)
                if files.sha256_bytes(data) == record.sha256:
                    found.append((place, data))
                    break
    return tuple(found)


def _cached(record: SampleRecord) -> Path:
    return cache_folder(SAMPLES_NAME) / f"{record.sha256}{Path(record.file).suffix}"


def _cache(record: SampleRecord, data: bytes) -> None:
    path = _cached(record)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)  # somebody's own images: nobody else's to read
        if not _holds(path, record.sha256):
            files.write_bytes(path, data)


def _holds(path: Path, sha256: str) -> bool:
    try:
        return files.sha256_bytes(files.read_regular(path, FILE_LIMIT)) == sha256
    except FormatError:
        return False
