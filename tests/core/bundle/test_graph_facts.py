"""core.bundle.graph_facts: what a graph says about itself comes back, or is refused."""

from __future__ import annotations

import json

import pytest

from adaptertune_deploy.core.bundle.graph_facts import (
    KEY,
    PRECISION_KEY,
    GraphFacts,
    from_metadata,
    precision_of,
    to_metadata,
)
from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.core.spec import TaskSpec
from tests.builders import make_backbone_spec, make_preprocess_spec, make_task


def make_facts(task: TaskSpec | None) -> GraphFacts:
    return GraphFacts(2, make_backbone_spec(), make_preprocess_spec(), (0, 1, 2, 3), task)


@pytest.mark.parametrize("task", [None, make_task(classes=5)])
def test_facts_come_back_equal(task: TaskSpec | None) -> None:
    facts = make_facts(task)
    assert from_metadata({**to_metadata(facts), "producer": "another tool"}, "graph.onnx") == facts


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "graph.onnx: says nothing about its task and preprocessing; make graphs with: atd export"),
        ("", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"a": 1, "a": 2}', "field 'a' is given twice"),
        ("[]", "has version None, this release reads 2"),
        ('{"format_version": 7}', "has version 7, this release reads 2"),
        ('{"format_version": 2}', "field 'backbone' is missing"),
        ('{"format_version": 2, "labels": []}', "unknown field 'labels'"),
    ],
)
def test_facts_that_are_not_understood_are_refused(text: str | None, message: str) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        from_metadata({} if text is None else {KEY: text}, "graph.onnx")
    assert str(caught.value).startswith("graph.onnx: ")
    assert "\n" not in str(caught.value)


def test_a_wrong_value_is_named_by_its_place() -> None:
    data = json.loads(to_metadata(make_facts(make_task()))[KEY])
    data["task"]["labels"][1] = 7
    with pytest.raises(FormatError, match=r"task: labels\[1\]: found 7, expected text"):
        from_metadata({KEY: json.dumps(data)}, "graph.onnx")


def test_a_graph_that_says_nothing_of_its_precision_is_fp32() -> None:
    assert precision_of(to_metadata(make_facts(None)), "graph.onnx") is Precision.FP32
    assert {precision_of({PRECISION_KEY: known.value}, "graph.onnx") for known in Precision} == {*Precision}


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(FormatError, match=r"^graph\.onnx: is in precision 'fp8', this release knows fp32, fp16, "):
        precision_of({PRECISION_KEY: "fp8"}, "graph.onnx")
