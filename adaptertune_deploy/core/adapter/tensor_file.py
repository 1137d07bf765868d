"""A task's tensor file, whose metadata says whose it is: read only together with what another file says about it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.core.spec import TaskSpec
from adaptertune_deploy.core.storage import files, tensors
from adaptertune_deploy.core.storage.held_file import HeldFile
from adaptertune_deploy.core.storage.tensors import Array

IDENTITY_KEY = "adaptertune_identity_sha256"


class Vouched(Protocol):
    """What decides answers besides the tensors: core.adapter.identity.Identity or FolderIdentity."""

    @property
    def task(self) -> TaskSpec:
        """Whose the tensors are."""

    @property
    def sha256(self) -> str:
        """Hash of all that it says."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Every tensor that the file holds."""


def pack(values: Mapping[str, Array], identity: Vouched) -> bytes:
    """Return a tensor file that says whose it is."""
    return tensors.pack(values, (IDENTITY_KEY, identity.sha256))


def read(path: Path, sha256: str, identity: Vouched, said_by: Path, held: HeldFile | None = None) -> bytes:
    """Return the bytes of a task's tensor file after comparing them with what another file says about it.

    The bytes that were hashed are the ones returned, so a file replaced afterwards can't slip in.

    Args:
        path: the tensor file.
        sha256: the hash that the other file holds.
        identity: what the other file says about the task.
        said_by: the other file, for messages.
        held: the tensor file where it was opened before, which is read whatever lies at `path` now.

    Raises:
        FormatError: absent, too large for the task, of another hash, or trained with other labels, alpha, blocks,
            temperature, backbone or preprocessing.
    """
    limit = tensors.size_limit(identity.shapes)
    data = files.read_regular(path, limit) if held is None else held.read(limit)
    found = files.sha256_bytes(data)
    if found != sha256:
        raise FormatError(
            f"{path}: sha256 is {found[:12]}..., expected {sha256[:12]}...; the file was changed or damaged, get it "
            "again or train the task again"
        )
    if tensors.read_note(data, IDENTITY_KEY, str(path)) != identity.sha256:
        raise FormatError(
            f"{said_by}: labels, alpha, blocks, temperature, what ships, backbone or preprocessing of task "
            f"'{identity.task.name}' are not those that {path.name} was trained with; one of the two was changed, get "
            "both again or train the task again"
        )
    return data
