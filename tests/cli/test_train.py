from __future__ import annotations

from pathlib import Path

import pytest

from adaptertune_deploy.cli.train import DEFAULT_BACKBONE, _usual_backbone, show_result
from adaptertune_deploy.core.adapter import read_config
from adaptertune_deploy.train.trainer import TrainResult
from tests.cli.conftest import Atd
from tests.train.runs import make_measured


def test_the_backbone_is_that_of_the_adapters_already_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _usual_backbone(folder / "adapters") == "vit_golden_patch8_32.random"
    assert "for another one: --backbone NAME --out FOLDER" in capsys.readouterr().err.replace("\n", " ")
    assert _usual_backbone(folder / "none") == DEFAULT_BACKBONE


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--dataset", "digit"], "Did you mean 'digits'?"),
        (["--dataset", "digits", "--rank", "0"], "--rank 0: expected a whole number from 1"),
        (["--dataset", "digits", "--device", "tpu"], "--device tpu"),
        (["--dataset", "digits", "--precision", "int4"], "--precision int4"),
        (["--dataset", "digits", "--val-split", "half"], "half"),
        ([], "--dataset"),
    ],
)
def test_mistakes_end_with_2_before_anything_is_written(
    atd: Atd, folder: Path, arguments: list[str], text: str
) -> None:
    before = sorted(path.name for path in (folder / "adapters").iterdir())
    done = atd("train", *arguments)
    assert (done.code, done.out) == (2, "")
    assert text in done.err
    assert sorted(path.name for path in (folder / "adapters").iterdir()) == before


def test_an_adapter_worse_than_the_head_alone_is_said_so(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    place = folder / "adapters" / "birds"
    good = make_measured()
    bad = make_measured(adapter=good.head_only, head_only=good.adapter)
    for measured, worse in ((good, False), (bad, True)):
        show_result(TrainResult(place, read_config(place), measured, ()))
        printed = capfd.readouterr()
        assert ("worse than the head alone" in printed.err) is worse
        assert f"{measured.adapter.top1:.1%}" in printed.out
