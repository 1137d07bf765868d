"""train.resume.state_file: a training's file comes back as it was, and one that was damaged is never gone on with."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.core.storage import tensors
from adaptertune_deploy.train.outcome.measured import Step
from adaptertune_deploy.train.resume.state_file import NOTE, State, read_state, write_state

RUN = "ab" * 32
STATE = State(
    step=3,
    steps=8,
    tensors={
        "model.head.weight": np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32).T,
        "losses": np.zeros(0, np.float32),
    },
    curve=(Step(2, 0.1 / 3, 1.25),),
    adapters_with_gradient=2,
    scaler={"scale": 65536},
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_state(tmp_path / "fold.safetensors", RUN, STATE)
    return tmp_path / "fold.safetensors"


def test_it_comes_back_bit_by_bit(path: Path) -> None:
    run, found = read_state(path)
    assert run == RUN
    assert {name: value.tobytes() for name, value in found.tensors.items()} == {
        name: value.tobytes() for name, value in STATE.tensors.items()
    }
    assert {**vars(found), "tensors": None} == {**vars(STATE), "tensors": None}


def test_one_flipped_bit_of_a_tensor_is_refused(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(FormatError, match=r"fold\.safetensors: is damaged: what it holds has another SHA-256"):
        read_state(path)


def test_another_step_in_its_note_is_refused(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data.replace(b'\\"step\\": 3', b'\\"step\\": 4'))
    assert path.read_bytes() != data
    with pytest.raises(FormatError, match="is damaged"):
        read_state(path)


@pytest.mark.parametrize("damage", [b"", b"\0" * 64, b"{}"])
def test_what_is_no_such_file_is_refused_without_advice_for_others(damage: bytes, path: Path) -> None:
    path.write_bytes(damage)
    with pytest.raises(FormatError, match=r"fold\.safetensors: [^;]+$"):
        read_state(path)


def test_half_a_file_and_a_note_that_is_no_json_are_refused(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - 20])
    with pytest.raises(FormatError, match=r"fold\.safetensors: not a safetensors file"):
        read_state(path)
    path.write_bytes(tensors.pack(STATE.tensors, (NOTE, "{")))
    with pytest.raises(FormatError, match=r"fold\.safetensors: not readable as JSON"):
        read_state(path)


def test_what_an_older_version_wrote_has_no_hash_and_is_read(path: Path) -> None:
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    note = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][NOTE])
    del note["sha256"]
    path.write_bytes(tensors.pack(STATE.tensors, (NOTE, json.dumps(note))))
    run, found = read_state(path)
    assert (run, found.step) == (RUN, STATE.step)
