"""A task that a client sends: the files of its adapter folder, checked as a bundle's are, and served from memory.

The bundle stays as it is: a server that is started again serves what the bundle holds.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from adaptertune_deploy.core.adapter import folder as adapters
from adaptertune_deploy.core.adapter import samples
from adaptertune_deploy.core.adapter.folder import Adapter, AdapterConfig
from adaptertune_deploy.core.adapter.identity import Identity
from adaptertune_deploy.core.adapter.reference import REFERENCE_NAME, KnownAnswers, known_answers
from adaptertune_deploy.core.answers.stored_answer import StoredAnswer
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle.manifest import Manifest
from adaptertune_deploy.core.errors import AtdError, RequestError
from adaptertune_deploy.core.storage import files
from adaptertune_deploy.serve.sessions.shared_session import SharedSession
from adaptertune_deploy.serve.sessions.stored_answers import compare

PLAIN = (adapters.CONFIG_NAME, adapters.MODEL_NAME, REFERENCE_NAME)
SAMPLES = f"{samples.SAMPLES_NAME}/"
MOST = 8  # images on which a task is verified


class Put(NamedTuple):
    """A task that was sent and is in a session under a key; digest is that of its file."""

    key: int
    adapter: Adapter
    digest: str


def put(
    session: SharedSession, manifest: Manifest, name: str, sent: Mapping[str, bytes], ship: str | None, served: str
) -> Put | None:
    """Put a task into a session, verified against torch's answers where those and their images were sent.

    Args:
        session: which is to hold it.
        manifest: of the bundle whose graph runs.
        name: the task's.
        sent: path below the adapter folder -> the file's content.
        ship: one of the candidates that the files hold; None takes the one that training chose.
        served: digest of what is served under the name now; "" for nothing.

    Returns:
        Where it lies and what it is, None where the same is served already.

    Raises:
        RequestError: 400, a file that no adapter folder has, is absent, damaged, or of another task or backbone.
        AtdError: the engine refuses it, or answers otherwise than torch; or no disk takes the files.
    """
    with _written(sent) as folder:
        try:
            config, adapter = adapters.read_adapter(folder, ship)
            known = known_answers(folder, config, ship, MOST)
            bundle.check_same_model(config, manifest.backbone, manifest.preprocess, "this server")
        except AtdError as error:
            raise RequestError(str(error).replace(f"{folder}/", "").replace(str(folder), "the adapter")) from None
    if adapter.task.name != name:
        raise RequestError(f"the files are of task '{adapter.task.name}', not of '{name:.80}'")
    digest = _digest(adapter, config)
    if digest == served:
        return None
    return Put(_verified(session, session.put(adapter, digest), name, known), adapter, digest)


@contextmanager
def _written(sent: Mapping[str, bytes]) -> Iterator[Path]:
    """Yield a folder with files for the length of a `with` block; AtdError where the disk does not take them."""
    try:
        with tempfile.TemporaryDirectory(prefix="atd-") as place:
            folder = Path(place)
            for file, content in sent.items():
                files.write_bytes(_path(folder, file), content)
            yield folder
    except OSError as error:
        reason = os.strerror(error.errno or 0)  # the error's own text may name a folder
        raise AtdError(
            f"the files can't be kept while they are checked ({reason}); free space where TMPDIR is"
        ) from None


def _verified(session: SharedSession, key: int, name: str, known: KnownAnswers | None) -> int:
    """Return the key of a task that answers as torch did; one that does not is taken out again."""
    try:
        if known is not None:
            count = len(known.images)
            rows = session.run(known.images, np.arange(count, dtype=np.int64), np.full(count, key, dtype=np.int64))
            for number, (found, expected) in enumerate(zip(rows, known.logits.tolist(), strict=True)):
                compare(StoredAnswer(name, f"sample {number}", tuple(expected)), found, session.engine)
    except BaseException:
        session.unload(key)
        raise
    return key


def _digest(adapter: Adapter, config: AdapterConfig) -> str:
    """Return the SHA-256 of the file that a bundle with this task would hold."""
    identity = Identity(adapter.task, config.backbone, config.preprocess)
    return files.sha256_bytes(adapters.pack(adapter.tensors, identity))


def _path(folder: Path, file: str) -> Path:
    if file in PLAIN or (file.startswith(SAMPLES) and samples.FILE_NAME.fullmatch(file.removeprefix(SAMPLES))):
        return folder / file
    raise RequestError(f"'{file:.80}' is no file of an adapter folder that a server takes: {', '.join(PLAIN)}")
