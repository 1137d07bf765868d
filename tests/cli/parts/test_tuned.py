"""What atd serve takes from a tuning, seen on real servers."""

from __future__ import annotations

import json
from pathlib import Path

import onnxruntime
import pytest

from adaptertune_deploy.bench.machine import describe_machine
from adaptertune_deploy.bench.tried import Evidence, Tried
from adaptertune_deploy.bench.tuning import Tuning, graphs_hash, write_tuning
from adaptertune_deploy.core.bundle.folder import read_manifest
from adaptertune_deploy.core.precision import Precision
from tests.bench.planted import tried
from tests.cli.conftest import Atd
from tests.cli.test_serve import Served

SAID = "note: tuned: onnxruntime in fp32 on 1 thread, batches of 3, measured 2026-01-02 03:04 UTC on "


@pytest.fixture(autouse=True)
def written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file of a tuning of the golden bundle on this machine."""
    monkeypatch.setenv("ATD_CACHE", str(folder / "cache"))
    return write(tried(threads=1, batch=3, gain=1.5))


def write(choice: Tried, form: str = "shared") -> Path:
    evidence = Evidence((choice,), (tried(), choice), (), ())
    graphs = graphs_hash(read_manifest(Path("bundle")), form)
    machine = describe_machine()
    allowed = (Precision.BF16,)
    return write_tuning(Tuning(1, graphs, form, machine, "2026-01-02 03:04 UTC", allowed, None, choice, evidence))


def serve(atd: Atd, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[str, list[str]]:
    """Return what a server printed about its engine, and its notes."""
    with monkeypatch.context() as patch:
        served = Served(atd, patch)
        done = served.run(*arguments, "--verbose")
    assert done.code == 0
    assert served.asked == [200]
    return served.lines[0], done.err.splitlines()


def test_a_tuning_is_followed_and_said_in_one_line(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    line, notes = serve(atd, monkeypatch)
    assert f"onnxruntime {onnxruntime.__version__} on cpu in fp32" in line
    assert notes[0].startswith(SAID)
    assert notes[0].endswith(describe_machine().words)
    assert "note: --max-batch 3 rows" in notes


def test_it_is_ignored_where_that_is_asked_for(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    _, notes = serve(atd, monkeypatch, "--no-tuning")
    assert not [note for note in notes if "tun" in note]
    assert "note: --max-batch found at the start, at most 8 rows" in notes


def test_options_win_over_it_one_by_one(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    _, notes = serve(atd, monkeypatch, "--max-batch", "5")
    assert notes[0].startswith(SAID)
    assert notes[0].endswith(", but --max-batch as asked")
    assert "note: --max-batch 5 rows" in notes
    _, notes = serve(atd, monkeypatch, "--threads", "2", "--engine", "onnxruntime")
    assert notes[0].endswith(", but --threads as asked")


def test_an_environment_variable_counts_as_asked(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATD_MAX_BATCH", "6")
    _, notes = serve(atd, monkeypatch)
    assert notes[0].endswith(", but --max-batch as asked")
    assert "note: --max-batch 6 rows" in notes


@pytest.mark.parametrize(("arguments", "option"), [(("-E", "provider=cpu"), "-E"), (("--device", "cpu"), "--device")])
def test_another_engine_than_was_measured_makes_it_void(
    atd: Atd, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], option: str
) -> None:
    _, notes = serve(atd, monkeypatch, *arguments)
    assert notes[0] == f"note: the tuning of bundle/ is not followed: {option} asks for something else"
    assert "note: --max-batch found at the start, at most 8 rows" in notes


def test_the_other_form_has_a_tuning_of_its_own(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    _, notes = serve(atd, monkeypatch, "--form", "merged")
    assert not [note for note in notes if "tun" in note]
    write(tried(batch=2), "merged")
    _, notes = serve(atd, monkeypatch, "--form", "merged")
    assert notes[0].startswith("note: tuned: onnxruntime in fp32, batches of 2, measured ")


def test_a_tuning_of_another_machine_is_said_and_not_followed(
    atd: Atd, monkeypatch: pytest.MonkeyPatch, written: Path
) -> None:
    facts = json.loads(written.read_text())
    facts["machine"]["cores"] += 7
    written.write_text(json.dumps(facts))
    _, notes = serve(atd, monkeypatch)
    cores = describe_machine().cores
    assert notes[0] == (
        "note: the tuning of bundle/ is not followed: it was measured 2026-01-02 03:04 UTC on another machine (here "
        f"{cores} cores, there {cores + 7})"
    )
    assert "note: --max-batch found at the start, at most 8 rows" in notes


def test_a_damaged_tuning_stops_no_server(atd: Atd, monkeypatch: pytest.MonkeyPatch, written: Path) -> None:
    written.write_text("{")
    _, notes = serve(atd, monkeypatch)
    assert notes[0].startswith("note: the tuning of bundle/ is not followed: ")
    assert "not readable as JSON" in notes[0]


def test_below_fp32_is_served_where_the_tuning_chose_it(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tried("openvino", Precision.BF16, batch=4))
    pytest.importorskip("openvino")
    if "bf16" not in describe_machine().processor:
        pytest.skip("this processor has no bfloat16")
    line, notes = serve(atd, monkeypatch)
    assert "in bf16" in line
    assert notes[0].startswith("note: tuned: openvino in bf16, batches of 4, ")
