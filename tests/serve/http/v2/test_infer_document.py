from __future__ import annotations

import json

from adaptertune_deploy.serve.http.v2 import infer_document


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
