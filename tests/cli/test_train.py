from __future__ import annotations

from pathlib import Path

import pytest

from adaptertune_deploy.cli.train import DEFAULT_BACKBONE, _usual_backbone
from tests.cli.conftest import Atd


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
