from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from adaptertune_deploy.bench import memory
from adaptertune_deploy.bench.memory import Question, measure_memory, resident_mb
from adaptertune_deploy.core.errors import EngineError


@pytest.fixture
def question(folder: Path) -> Question:
    return Question(str(folder / "bundle"), "merged", "onnxruntime", "fp32", "cpu", 1, 2, (1, 2))


def test_a_fresh_process_is_asked_and_answers_for_each_batch(question: Question) -> None:
    found = measure_memory(question)
    assert len(found) == 2
    assert all(20 < size < 2000 for size in found)


def test_what_a_process_refuses_is_said(question: Question) -> None:
    with pytest.raises(EngineError, match="bundle holds no merged bf16 graph"):
        measure_memory(replace(question, precision="bf16"))
    with pytest.raises(EngineError, match="ended with 1"):
        measure_memory(replace(question, batches=()))


def test_a_process_that_prints_nothing_is_no_answer(question: Question, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.sys, "executable", "/bin/true")
    with pytest.raises(EngineError, match="gave no answer"):
        measure_memory(question)


def test_the_child_answers_in_json(question: Question, capsys: pytest.CaptureFixture[str]) -> None:
    memory.main(json.dumps(question.__dict__))
    assert len(json.loads(capsys.readouterr().out)["mb"]) == 2


def test_memory_of_a_process_is_its_resident_set() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    assert resident_mb() == pytest.approx(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, rel=0.2)
    assert resident_mb("none") == 0
