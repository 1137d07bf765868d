"""train.logs.csv_log: rows that are on the disk at once, and runs that go on without a row twice."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from adaptertune_deploy.train.logs.csv_log import CsvLog
from adaptertune_deploy.train.logs.log import Line


def rows(folder: Path) -> list[list[str]]:
    with (folder / "steps.csv").open(newline="") as text:
        return list(csv.reader(text))


def fill(log: CsvLog, training: str, first: int, last: int) -> None:
    for step in range(first, last + 1):
        log.write(training, Line(step, 0.1 * step, 1 / 3, 100.0 + step))


def test_a_row_is_on_the_disk_when_it_was_written(tmp_path: Path) -> None:
    log = CsvLog(tmp_path)
    log.begin("seed 0 rank 8 fold 1 of 2", 0)
    fill(log, "seed 0 rank 8 fold 1 of 2", 1, 1)
    assert rows(tmp_path) == [
        ["training", "step", "lr", "loss", "time"],
        ["seed 0 rank 8 fold 1 of 2", "1", "0.1", "0.333333", "101.000"],
    ]


def test_trainings_follow_one_another(tmp_path: Path) -> None:
    log = CsvLog(tmp_path)
    for training in ("a, first", "b"):
        log.begin(training, 0)
        fill(log, training, 1, 3)
    log.close()
    assert [(row[0], row[1]) for row in rows(tmp_path)[1:]] == [
        (name, step) for name in ("a, first", "b") for step in "123"
    ]


@pytest.mark.parametrize("torn", ["", "b,", "b,4,0.4,0.33"])
def test_a_run_that_goes_on_has_every_row_once(torn: str, tmp_path: Path) -> None:
    killed = CsvLog(tmp_path)
    for training, last in (("a", 2), ("b", 3)):
        killed.begin(training, 0)
        fill(killed, training, 1, last)
    with (tmp_path / "steps.csv").open("a") as text:
        text.write(torn)  # what a process may leave that is killed while it writes
    log = CsvLog(tmp_path)
    log.begin("a", 2)
    log.begin("b", 1)
    fill(log, "b", 2, 4)
    log.close()
    killed.close()
    assert [(row[0], row[1]) for row in rows(tmp_path)[1:]] == [
        *(("a", step) for step in "12"),
        *(("b", step) for step in "1234"),
    ]


def test_a_training_that_begins_again_begins_its_rows_again(tmp_path: Path) -> None:
    log = CsvLog(tmp_path)
    for last in (3, 1):
        log.begin("a", 0)
        fill(log, "a", 1, last)
    log.close()
    assert [row[1] for row in rows(tmp_path)[1:]] == ["1"]
