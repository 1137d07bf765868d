from __future__ import annotations

import json
from typing import Any

import pytest

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.http import infer_document


def test_what_is_small_comes_as_values_and_a_tensor_as_it_is_written() -> None:
    text = b'{"id": "7", "inputs": [{"name": "image", "shape": [1, 1], "data": [ "aGVsbG8=" ]}], "x": [[], []]}'
    found = infer_document.read(text)
    (entry,) = found["inputs"]
    entry["data"] = bytes(entry["data"])
    assert found == {"id": "7", "inputs": [{"name": "image", "shape": [1, 1], "data": b'[ "aGVsbG8=" ]'}]}


def test_of_many_inputs_and_outputs_two_are_read_and_the_rest_is_skipped() -> None:
    many = [{"name": str(number)} for number in range(5)]
    found = infer_document.read(json.dumps({"inputs": many, "outputs": many}).encode())
    assert found == {"inputs": many[:2], "outputs": many[:2]}


@pytest.mark.parametrize("value", [-1, 9, True, 1.0, "1", None])
def test_a_number_beyond_its_limit_or_of_another_kind_is_refused(value: Any) -> None:
    with pytest.raises(RequestError, match="'size' must"):
        infer_document.natural({"size": value}, "size", 0, 8)
    assert [infer_document.natural(values, "size", 3, 8) for values in ({}, {"size": 8}, {"size": 0})] == [3, 8, 0]


@pytest.mark.parametrize("key", ["triton_x", "headers", "sequence_id", "sequence_start", "sequence_end"])
def test_reserved_parameters_are_refused_by_name_and_place(key: str) -> None:
    with pytest.raises(RequestError, match=r"^the input: parameter") as caught:
        infer_document.parameters({"parameters": {key: 1}}, "the input")
    assert key.split("_")[0] in str(caught.value)
    assert infer_document.parameters({"parameters": {"mine": 1}}, "the input") == {"mine": 1}
