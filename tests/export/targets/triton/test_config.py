"""The text of config.pbtxt, against protobuf's own reader of that text."""

from __future__ import annotations

import pytest

from adaptertune_deploy.export.targets.triton import config


def test_fields_are_lines() -> None:
    message: config.Message = {
        "name": 'a "b"',
        "count": 3,
        "on": config.Word("true"),
        "input": [{"dims": [3, -1]}, {"dims": [1]}],
        "inner": {"text": "é\n"},
    }
    assert config.text(message) == (
        'name: "a \\"b\\""\ncount: 3\non: true\ninput {\n  dims: 3\n  dims: -1\n}\ninput {\n  dims: 1\n}\n'
        'inner {\n  text: "\\u00e9\\n"\n}\n'
    )


def test_a_tensor() -> None:
    told = config.text({"output": [config.tensor("logits", "FP32", [5], "labels.txt")]})
    assert told.split() == [
        "output", "{", "name:", '"logits"', "data_type:", "TYPE_FP32", "dims:", "5", "label_filename:",
        '"labels.txt"', "}",
    ]  # fmt: skip
    assert "label_filename" not in config.text(config.tensor("x", "STRING", [1]))


@pytest.mark.parametrize(
    ("device", "kind", "gpus"), [("cpu", "KIND_CPU", None), ("cuda", "KIND_GPU", [0]), ("cuda:2", "KIND_GPU", [2])]
)
def test_where_a_model_runs(device: str, kind: str, gpus: list[int] | None) -> None:
    instance = config.instance(device)
    assert instance["kind"] == config.Word(kind)
    assert instance.get("gpus") == gpus


def test_no_request_waits_for_others_that_may_come() -> None:
    assert "max_queue_delay_microseconds" not in config.text(config.queue())
    assert "max_queue_size: 128" in config.text(config.queue())
