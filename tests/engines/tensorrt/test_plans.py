"""engines.tensorrt.plans: a kept plan is handed on only where everything that it was made of and for is the same."""

from __future__ import annotations

import dataclasses
import logging
import os
from pathlib import Path

import pytest

from adaptertune_deploy.core.errors import FormatError, UsageError
from adaptertune_deploy.engines.tensorrt import plans
from adaptertune_deploy.engines.tensorrt.plans import PlanFacts, PlanMachine

MACHINE = PlanMachine("tensorrt", "10.3.0", "NVIDIA Orin", "8.7", "540.3.0", "12.6")
FACTS = PlanFacts(MACHINE, "a" * 64, "fp16", {"rows": "32"})


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATD_CACHE", str(tmp_path))
    return tmp_path / "plans"


def machine_with(field: str, value: str) -> PlanFacts:
    return dataclasses.replace(FACTS, machine=dataclasses.replace(MACHINE, **{field: value}))


OTHERS = [
    *(machine_with(field.name, "other") for field in dataclasses.fields(PlanMachine)),
    dataclasses.replace(FACTS, graph="b" * 64),
    dataclasses.replace(FACTS, precision="fp32"),
    dataclasses.replace(FACTS, settings={"rows": "16"}),
]


def test_a_plan_comes_back_as_it_was_kept() -> None:
    assert plans.load_plan(FACTS) is None
    plans.store_plan(FACTS, b"\x00plan\xff")
    assert plans.load_plan(FACTS) == b"\x00plan\xff"


@pytest.mark.case("E5", "a plan for another GPU, version or graph", "not read, built anew")
@pytest.mark.parametrize(
    "other", OTHERS, ids=[*(field.name for field in dataclasses.fields(PlanMachine)), "graph", "precision", "settings"]
)
def test_a_plan_for_anything_else_is_not_handed_on(other: PlanFacts, folder: Path) -> None:
    """Not even where it lies in the very place of the one that is wanted."""
    plans.store_plan(other, b"other")
    assert plans.load_plan(FACTS) is None
    (found,) = folder.iterdir()
    plans.store_plan(FACTS, b"mine")
    (mine,) = [path for path in folder.iterdir() if plans.read_header(path)[1] == b"mine"]
    plans.store_plan(other, b"other")
    mine.write_bytes(found.read_bytes())
    assert plans.load_plan(FACTS) is None


@pytest.mark.parametrize("field", ["version", "driver", "cuda", "sm"])
def test_an_update_of_the_machine_replaces_the_plan(field: str, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    plans.store_plan(FACTS, b"old")
    updated = machine_with(field, "new")
    assert plans.load_plan(updated) is None
    assert f"was made with {field} {getattr(MACHINE, field)}, here it is new; made anew" in caplog.text
    plans.store_plan(updated, b"new")
    assert len(list(folder.iterdir())) == 1
    assert plans.load_plan(updated) == b"new"


def spoil(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "plan":
        data[-1] ^= 1
    elif how == "cut":
        del data[-1:]
    elif how == "header":
        data[30] ^= 0x80
    elif how == "length":
        data[8:16] = (1 << 40).to_bytes(8, "little")
    elif how == "from elsewhere":
        data[:] = b"ftrt" + bytes(100)
    elif how == "empty":
        data.clear()
    path.write_bytes(data)
    if how == "others may write":
        path.chmod(0o666)


HOWS = ["plan", "cut", "header", "length", "from elsewhere", "empty", "others may write"]


@pytest.mark.case("E5", "a plan with other bytes than were written", "not read, built anew")
@pytest.mark.parametrize("how", HOWS)
def test_a_file_that_is_not_as_it_was_written_is_made_anew(
    how: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plans.store_plan(FACTS, b"plan")
    (path,) = folder.iterdir()
    spoil(path, how)
    assert plans.load_plan(FACTS) is None
    assert caplog.text.rstrip().endswith("; made anew")
    plans.store_plan(FACTS, b"plan")
    assert plans.load_plan(FACTS) == b"plan"


def test_a_pipe_in_its_place_is_not_waited_for(folder: Path) -> None:
    plans.store_plan(FACTS, b"plan")
    (path,) = folder.iterdir()
    path.unlink()
    os.mkfifo(path, 0o600)
    assert plans.load_plan(FACTS) is None


def test_a_timing_cache_serves_all_graphs_of_one_machine(folder: Path) -> None:
    assert plans.load_timing(MACHINE) == b""
    plans.store_timing(MACHINE, b"times")
    assert plans.load_timing(MACHINE) == b"times"
    assert plans.load_timing(dataclasses.replace(MACHINE, version="10.4.0")) == b""
    (path,) = folder.iterdir()
    header, _ = plans.read_header(path)
    assert (header.kind, header.machine, header.facts) == (plans.TIMING, MACHINE, None)


def test_a_timing_cache_is_no_plan(folder: Path) -> None:
    plans.store_plan(FACTS, b"plan")
    (path,) = folder.iterdir()
    plans.store_timing(MACHINE, b"times")
    (timing,) = set(folder.iterdir()) - {path}
    path.write_bytes(timing.read_bytes())
    assert plans.load_plan(FACTS) is None


def test_a_header_can_be_read_by_who_shows_files(folder: Path) -> None:
    plans.store_plan(FACTS, b"plan")
    (path,) = folder.iterdir()
    header, body = plans.read_header(path)
    assert (header.kind, header.facts, header.bytes, body) == (plans.PLAN, FACTS, 4, b"plan")
    path.write_bytes(b"x" * 100)
    with pytest.raises(FormatError, match="is no file of TensorRT's that atd wrote"):
        plans.read_header(path)


def test_one_builds_and_nothing_of_the_lock_is_left(folder: Path) -> None:
    with plans.building(FACTS, 0):
        assert [path.name for path in folder.iterdir() if path.suffix == ".lock"]
    assert not list(folder.iterdir())


def test_a_cache_that_can_not_be_written_is_found_before_the_build(tmp_path: Path) -> None:
    (tmp_path / "plans").write_text("in the way")
    with (
        pytest.raises(UsageError, match=r"^ATD_CACHE .*plans: .*plans is a file, expected a folder"),
        plans.building(FACTS, 0),
    ):
        raise AssertionError("nothing may be built")
