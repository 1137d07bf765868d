"""The doctor on the machine that tests run on, and on one with a problem."""

from __future__ import annotations

import json

import pytest

import adaptertune_deploy
from adaptertune_deploy.doctor import examine
from adaptertune_deploy.doctor.finding import Finding
from tests.cli.conftest import Atd
from tests.cli.started import imported_by

SICK = [
    Finding("ok", "Python", "3.12"),
    Finding("note", "torch", "a CUDA build", "a CPU build", "take it"),
    Finding("problem", "ONNX Runtime", "two wheels", "one of them", "pip uninstall --yes onnxruntime"),
]


def make_sick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examine, "examine", lambda machine: SICK)


def test_a_problem_is_an_exit_code_and_comes_last(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    make_sick(monkeypatch)
    done = atd("doctor")
    assert (done.code, done.err) == (1, "")
    assert done.out.splitlines()[4:] == [
        "",
        "note: torch: a CUDA build; expected a CPU build",
        "  fix: take it",
        "",
        "problem: ONNX Runtime: two wheels; expected one of them",
        "  fix: pip uninstall --yes onnxruntime",
        "",
        "1 problem, 1 note",
    ]


def test_json_holds_every_finding(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    make_sick(monkeypatch)
    done = atd("doctor", "--json")
    document = json.loads(done.out)
    assert done.code == 1
    assert (document["version"], document["problems"], document["notes"]) == (adaptertune_deploy.__version__, 1, 1)
    assert document["findings"][2] == {
        "status": "problem",
        "what": "ONNX Runtime",
        "found": "two wheels",
        "expected": "one of them",
        "fix": "pip uninstall --yes onnxruntime",
    }


def test_this_machine_answers(atd: Atd) -> None:
    done = atd("doctor", "--json")
    findings = {finding["what"]: finding for finding in json.loads(done.out)["findings"]}
    assert {"Python", "cache folder", "onnxruntime on cpu"} <= set(findings)
    assert findings["onnxruntime on cpu"]["status"] == "ok"
    problems = [finding for finding in findings.values() if finding["status"] == "problem"]
    assert done.code == bool(problems)


def test_no_engine_is_loaded_into_the_command_itself() -> None:
    assert not imported_by("doctor", "--json") & {"torch", "timm", "onnx", "onnxruntime", "openvino", "numpy"}
