from __future__ import annotations

from pathlib import Path

import pytest

from adaptertune_deploy.cli.evaluate import show
from adaptertune_deploy.train.reevaluate import Evaluation
from tests.cli.conftest import Atd
from tests.cli.started import imported_by
from tests.train.runs import make_measured

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
    (["--adapter", "birds", "--split", "tets"], 2, "--split tets: expected train, val or test"),
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


def test_the_table_counts(capsys: pytest.CaptureFixture[str]) -> None:
    scores = make_measured().adapter
    show("pets", Evaluation("val", scores, ()), 3)
    printed = capsys.readouterr()
    assert printed.out.startswith("pets: val split\n")
    assert f"({round(scores.top1 * 40)} of 40)" in printed.out
    assert "top-5" not in printed.out
    assert "note: 40 val images: one image is 2.5 points" in printed.err
