"""core.adapter.tuned_weights: the file's hash is that of its tensors, and what is no such file is one line."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from adaptertune_deploy.core.adapter import folder as artefact
from adaptertune_deploy.core.adapter.tuned_weights import bytes_in, check, numbers, sha256
from adaptertune_deploy.core.errors import FormatError
from tests.builders import write_adapter, write_tuned


def test_the_hash_is_of_names_shapes_and_float32_bytes_in_the_order_of_the_names(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    bias, weight = np.arange(3, dtype=np.float16), np.arange(6, dtype=np.float32).reshape(2, 3)
    save_file({"b.weight": weight, "a.bias": bias}, path)
    said = b"a.bias[3]" + bias.astype("<f4").tobytes() + b"b.weight[2, 3]" + weight.astype("<f4").tobytes()
    assert sha256(path) == hashlib.sha256(said).hexdigest()
    assert numbers(path) == 9


def test_a_folder_without_weights_of_its_own_is_asked_for_none(tmp_path: Path) -> None:
    write_adapter(tmp_path / "pets")
    check(tmp_path / "pets", artefact.read_config(tmp_path / "pets"))
    assert bytes_in(tmp_path / "pets") == 0


def test_weights_are_those_of_the_config(tmp_path: Path) -> None:
    folder = write_tuned(tmp_path / "pets")
    config = artefact.read_config(folder)
    check(folder, config)
    save_file({"norm.weight": np.zeros(8, np.float32)}, folder / artefact.WEIGHTS_NAME)
    with pytest.raises(FormatError, match=r"holds other weights than adapter_config\.json names"):
        check(folder, config)
    assert bytes_in(folder) == (folder / artefact.WEIGHTS_NAME).stat().st_size


def test_what_is_no_such_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    with pytest.raises(FormatError, match="no such file"):
        sha256(path)
    path.write_bytes(b"nothing of the kind")
    for read in (sha256, numbers):
        with pytest.raises(FormatError, match=r"^[^\n]*not a safetensors file[^\n]*$"):
            read(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(FormatError, match="is a pipe, expected a regular file"):
        sha256(path)
