from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from adaptertune_deploy.bench.spread import Spread
from adaptertune_deploy.bench.tried import Tried
from adaptertune_deploy.bench.tuning import read_tuning
from adaptertune_deploy.cli import tune as command
from adaptertune_deploy.core.precision import Precision
from tests.bench.golden import give_answers
from tests.cli.conftest import Atd
from tests.cli.started import imported_by

QUICK = ("--time", "0.2", "--engine", "onnxruntime", "--threads", "1", "--batch", "1,2")


@pytest.fixture(autouse=True)
def _cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATD_CACHE", str(folder / "cache"))
    give_answers(folder / "adapters")


def test_the_screen_shows_what_was_tried_the_choice_and_where_it_lies(atd: Atd, folder: Path) -> None:
    done = atd("tune", *QUICK)
    assert (done.code, done.err) == (0, "")
    (path,) = (folder / "cache" / "tuning").iterdir()
    found = read_tuning(path)
    lines = done.out.splitlines()
    assert lines[0] == found.machine.words
    assert lines[1].split() == ["engine", "batch", "ms", "images/s", "same", "top-1"]
    rows = [line for line in lines[2:-4] if line.startswith("onnxruntime in fp32")]
    assert all("8 of 8" in row for row in rows)
    assert sum("untuned" in row for row in rows) == sum("chosen" in row for row in rows) == 1
    assert any(line.startswith(f"{found.choice.words}: ") and "round" in line for line in lines)
    assert lines[-2:] == [
        f"written to {path}; atd serve follows it, atd serve --no-tuning does not",
        "next: atd serve",
    ]


def compared(atd: Atd, folder: Path, choice: Tried, first: Tried, latency: float | None = None) -> str:
    """Return what is said of a choice beside what gains are over."""
    assert atd("tune", *QUICK).code == 0
    (path,) = (folder / "cache" / "tuning").iterdir()
    found = read_tuning(path)
    evidence = replace(found.evidence, final=tuple(dict.fromkeys([first, choice])))
    return command._sentence(replace(found, evidence=evidence, choice=choice, latency_ms=latency))


UNTUNED = Tried("onnxruntime", Precision.FP32, "auto", 0, 8, 5, Spread(8.0, 8.0, 8.0))
OTHER = replace(UNTUNED, engine="openvino")


@pytest.mark.parametrize(
    ("gain", "latency", "end"),
    [(1.2, None, "side by side"), (0.5, None, "; that is slower: atd serve --no-tuning"), (0.5, 9.0, "side by side")],
)
def test_the_last_line_says_what_the_choice_brings(
    gain: float, latency: float | None, end: str, atd: Atd, folder: Path
) -> None:
    said = compared(atd, folder, replace(OTHER, gain=Spread(gain, gain, gain)), UNTUNED, latency)
    times = f"{gain:.2f} [{gain:.2f}, {gain:.2f}] times as many images as untuned"
    assert said.startswith(f"openvino in fp32, batches of 8: 1000.0 images/s, {times}, 5 rounds side by side")
    assert said.endswith(end)


@pytest.mark.parametrize(("first", "name"), [(UNTUNED, "untuned"), (OTHER, "openvino in fp32")])
def test_where_nothing_is_faster_it_is_said_than_what(first: Tried, name: str, atd: Atd, folder: Path) -> None:
    said = compared(atd, folder, first, first)
    assert said == f"{first.words}: as {name}; nothing was faster by more than noise in 5 rounds"


def test_json_is_the_file_and_its_place(atd: Atd, folder: Path) -> None:
    done = atd("tune", "bundle", "--form", "merged", "--json", *QUICK)
    facts = json.loads(done.out)
    path = Path(facts.pop("file"))
    assert facts == json.loads(path.read_text())
    assert facts["form"] == "merged"
    assert facts["allowed"] == []


def test_without_samples_fp32_alone_is_tuned_and_that_is_said(atd: Atd, folder: Path) -> None:
    shutil.rmtree(folder / "adapters")
    done = atd("tune", *QUICK)
    assert done.code == 0
    assert done.err == (
        "note: answers are not compared with torch's: birds: no adapter folder adapters/birds, and 1 more such\n"
    )


def test_samples_may_lie_elsewhere(atd: Atd, folder: Path) -> None:
    (folder / "adapters").rename(folder / "elsewhere")
    assert atd("tune", "--adapters-dir", "elsewhere", *QUICK).err == ""


def test_a_precision_that_nothing_here_runs_is_named(atd: Atd) -> None:
    done = atd("tune", "--allow", "int8", *QUICK)
    assert done.code == 0
    assert done.err == (
        "note: --allow int8: the bundle holds no such shared graph that onnxruntime runs here; make one with: "
        "atd export --precision fp32,int8\n"
    )


def test_answers_of_another_training_end_it(atd: Atd, folder: Path) -> None:
    give_answers(folder / "adapters", shift=0.1)
    done = atd("tune", *QUICK)
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert done.err.startswith("error: onnxruntime in fp32 changes answers: up to 1.0e-01 from torch's logits")
    assert not list((folder / "cache").rglob("*.json"))


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["none"], 1, "none: holds no manifest.json; make a bundle with: atd export"),
        (["--allow", "int9"], 2, "--allow: no precision 'int9', only fp32, fp16, bf16, int8, int8-qdq. Did you mean"),
        (["--engine", "onnxruntim"], 2, "--engine: no engine 'onnxruntim', only"),
        (["--engine", "onnxruntime,onnxruntime"], 2, "expected one or more engines, each once"),
        (["--device", "tpu"], 1, "no engine is installed that has --device tpu"),
        (["--batch", "0"], 2, "--batch 0: expected whole numbers from 1, comma-separated"),
        (["--batch", "1,x"], 2, "--batch 1,x: expected whole numbers from 1"),
        (["--batch", "2,2"], 2, "--batch 2,2: names a number twice; name each once"),
        (["--threads", "-1"], 2, "--threads -1: expected whole numbers from 0"),
        (["--threads", "1,100000"], 2, "--threads 100000: expected 0 to 1024"),
        (["--latency", "0"], 2, "--latency 0: expected milliseconds above 0"),
        (["--time", "0"], 2, "--time 0: expected seconds above 0"),
        (["--form", "both"], 2, "--form: no form 'both'"),
        (["--adapters-dir", "nowhere"], 2, "--adapters-dir nowhere: no such folder"),
        (["--latency", "0.000001", *QUICK], 2, "--latency 1e-06: no configuration is so fast, the best takes"),
    ],
)
def test_mistakes(atd: Atd, arguments: list[str], code: int, text: str) -> None:
    done = atd("tune", *arguments)
    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1)
    assert text in done.err


def test_a_cache_that_can_not_be_written_is_found_before_the_work(atd: Atd, folder: Path) -> None:
    (folder / "cache").write_text("a file")
    done = atd("tune", *QUICK)
    assert (done.code, done.out) == (2, "")
    assert "ATD_CACHE" in done.err


def test_no_training_library_is_imported(folder: Path) -> None:
    assert not imported_by("tune", *QUICK) & {"torch", "timm", "onnx", "matplotlib", "sklearn", "starlette"}
