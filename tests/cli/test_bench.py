from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from adaptertune_deploy.bench import measure, picture
from adaptertune_deploy.bench.results import read_bench
from adaptertune_deploy.cli import bench as command
from adaptertune_deploy.cli.terminal import console
from tests.bench.golden import give_answers
from tests.bench.made import make_bench
from tests.cli.conftest import Atd
from tests.cli.started import imported_by

QUICK = ("--time", "0.2", "--engine", "onnxruntime", "--batch", "1,2", "--tasks", "1,3", "--threads", "1")


@pytest.fixture(autouse=True)
def _small(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the adapters torch's answers, and have small matrices measured, and memory of no process."""
    give_answers(folder / "adapters")
    monkeypatch.setattr(measure, "SIDE", 64)
    monkeypatch.setattr(measure, "measure_memory", lambda question: tuple(100.0 for _ in question.batches))


def test_json_is_the_document_that_the_folder_gets(atd: Atd, folder: Path) -> None:
    done = atd("bench", "--json", "--out", "new/out", *QUICK)
    assert done.code == 0
    found = read_bench(folder / "new" / "out" / "bench.json")
    assert json.loads(done.out) == json.loads((folder / "new" / "out" / "bench.json").read_text())
    assert {entry.way.form for entry in found.ran} == {"shared", "merged"}
    assert [(entry.images, entry.same) for entry in found.answered] == [(8, 8), (8, 8)]
    with Image.open(folder / "new" / "out" / "bench.png") as image:
        assert image.width > 600


def test_without_matplotlib_the_numbers_are_written_and_the_extra_is_named(
    atd: Atd, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture, "can_draw", lambda: False)
    done = atd("bench", "--out", "out", *QUICK)
    assert (done.code, [path.name for path in (folder / "out").iterdir()]) == (0, ["bench.json"])
    assert "note: no picture: matplotlib is not installed; pip install 'adaptertune-deploy[plot]'\n" in done.err
    assert done.out.splitlines()[-1] == "written: out/bench.json"


def test_the_screen_has_a_table_for_each_number_of_tasks_and_what_it_comes_to(
    capsys: pytest.CaptureFixture[str],
) -> None:
    command.show(make_bench())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "4 cores of A CPU avx2; vit_test, 2.5 GFLOP an image"
    assert [line for line in lines if line.endswith("50 rounds")] == [
        "1 task, 1 row a run, 50 rounds",
        "1 task, 8 rows a run, 50 rounds",
        "10 tasks, 1 row a run, 50 rounds",
        "10 tasks, 8 rows a run, 50 rounds",
    ]
    row = next(line.split() for line in lines[::-1] if line.startswith("merged fp32"))
    assert row[3:] == ["800.0", "[720.0,", "880.0]", "960.0", "10.0", "500", "220", "MB", "50", "%"]
    answers = next(line.split() for line in lines if line.startswith("shared fp32"))
    assert answers[3:] == ["63", "of", "64", "1.0e-05", "20", "%", "200"]
    assert "not measured: memory of 3 of 4: time was up" in lines
    assert lines[-1] == (
        "10 tasks in fp32 on onnxruntime: one backbone 160.0 ms and 100 MB, 10 models 800.0 ms and 500 MB for 8 rows"
    )


def test_of_few_rounds_no_spread_is_shown_and_the_conclusion_says_how_few(capsys: pytest.CaptureFixture[str]) -> None:
    bench = make_bench()
    command.show(replace(bench, ran=tuple(replace(entry, rounds=1) for entry in bench.ran)))
    lines = capsys.readouterr().out.splitlines()
    row = next(line.split() for line in lines[::-1] if line.startswith("merged fp32"))
    assert row[3:] == ["800.0", "10.0", "500", "220", "MB", "50", "%"]
    assert lines[-1].endswith("10 models 800.0 ms and 500 MB for 8 rows; 1 round, time was up: give --time more")


def test_a_bundle_without_merged_graphs_says_how_to_compare(atd: Atd, folder: Path) -> None:
    manifest = json.loads((folder / "bundle" / "manifest.json").read_text())
    manifest["graphs"] = [graph for graph in manifest["graphs"] if graph["form"] == "shared"]
    (folder / "bundle" / "manifest.json").write_text(json.dumps(manifest))
    done = atd("bench", *QUICK)
    assert done.code == 0
    note = "note: no merged graph of every task to compare with; make them with: atd export --merge"
    assert note in done.err.splitlines()


def test_without_samples_answers_are_not_compared_and_that_is_said(atd: Atd, folder: Path) -> None:
    shutil.rmtree(folder / "adapters")
    done = atd("bench", "--form", "shared", *QUICK)
    assert done.code == 0
    assert done.err.startswith("note: answers are not compared with torch's: birds: no adapter folder adapters/birds")


def test_progress_is_drawn_on_a_terminal_and_nothing_when_piped(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    assert atd("bench", "--form", "shared", "--json", *QUICK).err == ""
    told: list[str] = []

    class Bars:
        def __enter__(self) -> object:
            return lambda what, done, total: told.append(what)

        def __exit__(self, *_: object) -> None:
            return None

    monkeypatch.setattr(console, "progress_bars", Bars)
    atd("bench", "--form", "shared", "--json", *QUICK)
    assert {"measuring, answers, 1 of 1", "measuring, memory, 1 of 2"} <= set(told)
    assert "measuring, times with 1 task" in told


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["none"], 1, "none: holds no manifest.json; make a bundle with: atd export"),
        (["--precision", "int9"], 2, "--precision: no precision 'int9'"),
        (["--precision", "int8", *QUICK], 2, "none of onnxruntime runs a graph of this bundle in int8"),
        (["--engine", "none"], 2, "--engine: no engine 'none'"),
        (["--tasks", "0"], 2, "--tasks 0: expected whole numbers from 1"),
        (["--batch", "a"], 2, "--batch a: expected whole numbers from 1"),
        (["--threads", "-1"], 2, "--threads -1: expected 0 to 1024"),
        (["--threads", "100000"], 2, "--threads 100000: expected 0 to 1024"),
        (["--time", "-1"], 2, "--time -1: expected seconds above 0"),
        (["--out", "bundle/manifest.json"], 2, "--out bundle/manifest.json: bundle/manifest.json is a file"),
    ],
)
def test_mistakes(atd: Atd, arguments: list[str], code: int, text: str) -> None:
    done = atd("bench", *arguments)
    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1)
    assert text in done.err


def test_no_training_library_is_imported(folder: Path) -> None:
    heavy = {"torch", "timm", "onnx", "matplotlib", "sklearn", "starlette"}
    assert not imported_by("bench", "--json", "--form", "shared", *QUICK) & heavy
