"""Reference logits: what torch answered about an adapter's samples when it was trained.

reference.safetensors lies beside the tensors and holds float32 [S, C] for each candidate, as served (divided by the
temperature), for the S samples of the config in their order: `head`, `adapter` where the rank is not 0, and `adapter-4`
and the like where it is nested. The config holds its hash. So whoever has the folder, its images and an engine can tell
whether a graph answers as torch did, without torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adaptertune_deploy.core.adapter import samples
from adaptertune_deploy.core.adapter.folder import CONFIG_NAME, AdapterConfig
from adaptertune_deploy.core.errors import FormatError, ImageError
from adaptertune_deploy.core.images.preprocess import MAX_OFFLINE_PIXELS, preprocess
from adaptertune_deploy.core.storage import files, tensors
from adaptertune_deploy.core.storage.tensors import Array

REFERENCE_NAME = "reference.safetensors"


@dataclass(frozen=True, eq=False)
class KnownAnswers:
    """Samples that are here, with torch's answers.

    images: float32 [S, 3, H, W], preprocessed, S at least 1.
    logits: float32 [S, C].
    """

    images: Array
    logits: Array


def write_reference(folder: Path, logits: Mapping[str, Array]) -> str:
    """Write reference.safetensors into an adapter folder and return its SHA-256.

    Args:
        folder: the adapter folder, or the stage that becomes it.
        logits: candidate -> [S, C].
    """
    data = tensors.pack(logits)
    files.write_bytes(folder / REFERENCE_NAME, data)
    return files.sha256_bytes(data)


def read_reference(folder: Path, config: AdapterConfig, ship: str | None = None) -> Array | None:
    """Return torch's logits [S, C] for all samples of the config, None for a folder that holds none.

    Args:
        folder: the adapter folder.
        config: its config.
        ship: one of the config's candidates; None takes the one that the config names.

    Raises:
        FormatError: absent though the config names it, of another hash, or not of the shapes that the config says.
    """
    if not config.reference_sha256:
        return None
    path = folder / REFERENCE_NAME
    shape = (len(config.samples), len(config.task.labels))
    shapes = dict.fromkeys(config.candidates, shape)
    data = files.read_regular(path, tensors.size_limit(shapes))
    if files.sha256_bytes(data) != config.reference_sha256:
        raise FormatError(
            f"{path}: is not the file that {CONFIG_NAME} names; it was changed or damaged, get the folder again or "
            "train the task again"
        )
    return tensors.unpack(data, shapes, str(path))[ship or config.ships]


def known_answers(
    folder: Path, config: AdapterConfig, ship: str | None = None, most: int | None = None
) -> KnownAnswers | None:
    """Return the samples that are on this machine with torch's answers; None where there is no such pair.

    Args:
        folder: the adapter folder.
        config: its config.
        ship: see read_reference.
        most: how many to return at most, taken at even distances.

    Raises:
        FormatError: see read_reference; or a sample that is no image.
    """
    logits = read_reference(folder, config, ship)
    found = samples.read(folder, config.samples) if logits is not None else ()
    if logits is None or not found:
        return None
    count = len(found) if most is None else min(most, len(found))
    chosen = [found[index * len(found) // count] for index in range(count)]
    rows = []
    for place, data in chosen:
        try:
            rows.append(preprocess(data, config.preprocess, MAX_OFFLINE_PIXELS))
        except ImageError as error:
            file = config.samples[place].file
            raise FormatError(f"{folder}: sample {file} is no image to verify on ({error}); train it again") from None
    return KnownAnswers(np.stack(rows), np.ascontiguousarray(logits[[place for place, _ in chosen]]))
