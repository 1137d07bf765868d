from __future__ import annotations

from pathlib import Path

import pytest

from adaptertune_deploy.cli.export import show_manifest
from adaptertune_deploy.core.bundle import read_manifest
from tests.cli.conftest import Atd


def test_an_unknown_task_names_the_nearest(atd: Atd) -> None:
    done = atd("export", "--adapters", "bird")
    assert (done.code, done.out) == (2, "")
    assert "only birds, cars, trees. Did you mean 'birds'?" in done.err


def test_no_adapters_at_all_says_how_to_train_one(atd: Atd) -> None:
    done = atd("export", "--adapters-dir", "empty")
    assert done.code == 2
    assert "empty: holds no adapters; train one first: atd train --dataset pets" in done.err


def test_the_table_names_every_file_size(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = read_manifest(folder / "bundle")
    show_manifest(folder / "bundle", manifest)
    printed = capsys.readouterr().out
    assert "(backbone)" in printed
    assert "188 kB" in printed
    assert "atd serve --adapters birds,cars" in printed
