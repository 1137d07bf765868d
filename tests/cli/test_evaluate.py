from __future__ import annotations

from pathlib import Path

import pytest

from adaptertune_deploy.cli.evaluate import facts, show
from adaptertune_deploy.train.evaluation.reevaluate import Evaluation
from tests.builders import make_config, make_task
from tests.cli.conftest import Atd
from tests.cli.started import imported_by
from tests.train.outcome.measured_values import make_measure

MISTAKES = [
    (
        ["--adapter", "bird"],
        1,
        "adapters/bird: no such adapter folder; known: birds, cars, trees. Did you mean",
    ),
    (
        ["--adapter", "pets", "--adapters-dir", "none"],
        1,
        "none/pets: no such adapter folder; train one first",
    ),
    (["--adapter", "adapters/birds"], 2, "say --adapter birds --adapters-dir adapters"),
    (["--adapter", "birds", "--split", "tets"], 2, "--split tets: expected train or test"),
    (["--adapter", "birds", "--split", "val"], 2, "--split val: expected train or test"),
    (["--adapter", "birds", "--ship", "heads"], 2, "--ship: no candidate 'heads', only auto, adapter, head, full."),
    (["--adapter", "birds", "--device", "tpu"], 2, "--device tpu: expected"),
]


@pytest.mark.parametrize(("arguments", "code", "text"), MISTAKES)
def test_mistakes(atd: Atd, arguments: list[str], code: int, text: str) -> None:
    done = atd("evaluate", *arguments)
    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1)
    assert text in done.err


def test_they_are_found_before_torch_is_imported(folder: Path) -> None:
    for arguments, _, _ in MISTAKES:
        assert "torch" not in imported_by("evaluate", *arguments)


def test_a_dataset_that_is_gone_is_one_line(atd: Atd) -> None:
    done = atd("evaluate", "--adapter", "birds")
    assert done.code in (1, 2)
    assert "squares" in done.err
    assert "Traceback" not in done.err


def evaluation(split: str = "test", candidate: str = "adapter") -> Evaluation:
    return Evaluation(split, candidate, make_measure(33, 40), 5_524_416, make_config(make_task("pets")), ())


def test_the_table_counts(capsys: pytest.CaptureFixture[str]) -> None:
    show(evaluation())
    printed = capsys.readouterr()
    lines = [" ".join(line.split()) for line in printed.out.splitlines()]
    assert lines[:4] == [
        "pets on vit_tiny_patch16_224.random: test split, 40 images",
        "adapter + head",
        "right 33 of 40",
        "top-1 82.5 %",
    ]
    assert "95 % interval 68.1 .. 91.3 %" in lines
    assert not [line for line in lines if line.startswith("top-5")]
    assert "note: 40 test images: one image is 2.5 points; models that differ on fewer than 6" in printed.err
    assert "trained on" not in printed.err


def test_the_other_candidate_is_called_so(capsys: pytest.CaptureFixture[str]) -> None:
    show(evaluation(candidate="head"))
    printed = capsys.readouterr().out
    assert printed.splitlines()[0].endswith(": test split, 40 images, which does not ship")
    assert printed.splitlines()[1].strip() == "head alone"


def test_training_images_flatter(capsys: pytest.CaptureFixture[str]) -> None:
    show(evaluation("train"))
    assert "note: these images were trained on; new images are answered worse" in capsys.readouterr().err


def test_json_holds_the_interval() -> None:
    found = facts(evaluation())
    assert (found["task"], found["split"], found["candidate"], found["ships"]) == ("pets", "test", "adapter", "adapter")
    assert (found["right"], found["images"], found["top5"]) == (33, 40, None)
    assert found["top1_interval"] == pytest.approx([0.6805, 0.9125], abs=1e-4)
