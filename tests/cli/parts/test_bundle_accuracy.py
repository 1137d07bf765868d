"""atd evaluate --bundle: what a precision costs, in counts and with a paired test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adaptertune_deploy.cli.parts import bundle_accuracy
from adaptertune_deploy.cli.parts.bundle_accuracy import check_task, facts, show
from adaptertune_deploy.core.adapter.folder import read_config
from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.train.evaluation.answered import Answered
from adaptertune_deploy.train.evaluation.reevaluate import EvaluateRequest
from tests.builders import make_config, make_task
from tests.cli.conftest import Atd
from tests.cli.started import imported_by
from tests.train.outcome.measured_values import make_measure

INT8 = EngineOptions(precision=Precision.INT8)


def found(split: str = "test", plain: bool = True) -> Answered:
    """33 and 30 of 40 images right; three named otherwise."""
    measures = {"fp32": make_measure(33, 40), "int8": make_measure(30, 40)}
    classes = {name: np.zeros(40, np.int64) for name in measures}
    classes["int8"][:3] = 1
    kept = measures if plain else {"int8": measures["int8"]}
    return Answered(split, kept, classes, make_config(make_task("pets")), ())


def test_the_table_has_both_and_the_test_says_what_differs(capsys: pytest.CaptureFixture[str]) -> None:
    show(found(), INT8)
    printed = capsys.readouterr()
    lines = [" ".join(line.split()) for line in printed.out.splitlines()]
    assert lines[:3] == ["pets on onnxruntime: test split, 40 images", "fp32 int8", "right 33 of 40 30 of 40"]
    assert lines[-2:] == [
        "int8 against fp32: 0 images better, 3 worse: no difference shown (p = 0.25)",
        "the same class on 37 of 40 images (92.5 %)",
    ]
    assert "40 test images: one image is 2.5 points" in printed.err


def test_without_an_fp32_graph_nothing_is_compared(capsys: pytest.CaptureFixture[str]) -> None:
    show(found("train", plain=False), INT8)
    printed = capsys.readouterr()
    assert "against" not in printed.out
    assert "note: the bundle holds no fp32 graph to compare with\n" in printed.err
    assert "these images were trained on" in printed.err


def test_json_has_the_counts() -> None:
    told = facts(found(), INT8)
    assert told["against_fp32"].pop("p") == pytest.approx(0.25)
    assert told["against_fp32"] == {"better": 0, "worse": 3, "images": 40, "same_class": 37}
    assert (told["precision"], told["precisions"]["int8"]["right"]) == ("int8", 30)
    assert "against_fp32" not in facts(found(plain=False), INT8)


def test_a_bundle_that_holds_something_else_of_that_name_is_refused(folder: Path) -> None:
    config = read_config(folder / "adapters" / "birds")
    check_task(folder / "bundle", config, None)
    with pytest.raises(UsageError, match=r"bundle/ holds another 'birds' than its folder ships \(rank .*atd add"):
        check_task(folder / "bundle", config, "head")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--adapter", "birds", "--precision", "int8"], "choose how a bundle answers; name one: --bundle bundle"),
        (["--adapter", "birds", "--bundle", "bundle", "--precision", "int9"], "no precision 'int9'"),
        (["--adapter", "trees", "--bundle", "bundle"], "adapters/trees is trained but not in bundle/; add it with"),
    ],
)
def test_mistakes_are_found_before_torch_is_imported(atd: Atd, folder: Path, arguments: list[str], text: str) -> None:
    done = atd("evaluate", *arguments)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert text in done.err
    assert "torch" not in imported_by("evaluate", *arguments)


def test_every_way_is_a_session_in_its_precision(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The golden bundle holds fp32 alone, so that is asked once."""
    asked: list[list[str]] = []

    def answered(request: EvaluateRequest, ways: dict[str, object], progress: object) -> Answered:
        asked.append(list(ways))
        images = np.zeros((2, 3, *read_config(request.folder).preprocess.size), np.float32)
        logits = ways["fp32"](images)  # type: ignore[operator]
        assert logits.shape == (2, len(read_config(request.folder).task.labels))
        return found()

    monkeypatch.setattr("adaptertune_deploy.train.evaluation.answered.answered", answered)
    request = EvaluateRequest(folder / "adapters" / "birds")
    bundle_accuracy.evaluate_bundle(folder / "bundle", request, EngineOptions(device="cpu"))
    assert asked == [["fp32"]]
