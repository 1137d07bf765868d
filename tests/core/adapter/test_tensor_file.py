"""core.adapter.tensor_file: a task's tensors are read only as what another file says they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors

from adaptertune_deploy.core.adapter import tensor_file
from adaptertune_deploy.core.adapter.identity import FolderIdentity, Identity
from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.core.storage import files, tensors
from tests.builders import (
    make_adapter,
    make_backbone_spec,
    make_candidates,
    make_config,
    make_preprocess_spec,
    make_task,
)

IDENTITY = Identity(make_task(), make_backbone_spec(), make_preprocess_spec())
FOLDER = make_config().identity
SAID_BY = Path("manifest.json")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(tensor_file.pack(make_adapter().tensors, IDENTITY))
    return tmp_path / "file"


def sha256(path: Path) -> str:
    return files.sha256_bytes(path.read_bytes())


@pytest.mark.parametrize("identity", [IDENTITY, FOLDER])
def test_a_file_says_whose_it_is(tmp_path: Path, identity: Identity | FolderIdentity) -> None:
    values = make_candidates(FOLDER) if identity is FOLDER else make_adapter().tensors
    path = tmp_path / "file"
    path.write_bytes(tensor_file.pack(values, identity))
    with safetensors.safe_open(path, "numpy") as opened:
        assert opened.metadata() == {"adaptertune_identity_sha256": identity.sha256}
        assert set(opened.keys()) == set(identity.shapes)
    data = tensor_file.read(path, sha256(path), identity, SAID_BY)
    assert data == path.read_bytes()
    assert tensors.unpack(data, identity.shapes, "file").keys() == values.keys()


def test_a_changed_byte_is_noticed(path: Path) -> None:
    before, data = sha256(path), bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        FormatError, match=rf"^{path}: sha256 is .*, expected {before[:12]}\.\.\.; the file was changed"
    ):
        tensor_file.read(path, before, IDENTITY, SAID_BY)


def test_the_folders_tensors_are_not_taken_for_a_bundles(path: Path) -> None:
    """Both hold a task's adapters; the first hold the probe too."""
    with pytest.raises(FormatError, match=r"^manifest.json: labels, alpha, .* of task 'pets' are not those that file"):
        tensor_file.read(path, sha256(path), FOLDER, SAID_BY)


def test_a_file_that_says_nothing_is_refused(path: Path) -> None:
    path.write_bytes(tensors.pack(make_adapter().tensors))
    with pytest.raises(FormatError, match="are not those that file was trained with; one of the two was changed"):
        tensor_file.read(path, sha256(path), IDENTITY, SAID_BY)


def test_a_file_far_larger_than_the_task_is_not_even_read(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(FormatError, match="holds 1,099,511,627,776 bytes, expected at most"):
        tensor_file.read(path, "0" * 64, IDENTITY, SAID_BY)


def test_the_bytes_that_were_hashed_are_the_ones_returned(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, digest, hashed = path.read_bytes(), sha256(path), files.sha256_bytes

    def replaced_meanwhile(data: bytes) -> str:
        path.write_bytes(b"another file")
        return hashed(data)

    monkeypatch.setattr(files, "sha256_bytes", replaced_meanwhile)
    assert tensor_file.read(path, digest, IDENTITY, SAID_BY) == original
