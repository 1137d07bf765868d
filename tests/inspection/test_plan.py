from __future__ import annotations

from pathlib import Path

import pytest

from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.engines.tensorrt import plans
from adaptertune_deploy.engines.tensorrt.plans import PlanFacts, PlanMachine
from adaptertune_deploy.inspection import kinds, plan
from adaptertune_deploy.inspection.inspected import Size

MACHINE = PlanMachine("tensorrt", "10.3.0", "Orin", "8.7", "540.3.0", "12.6")
FACTS = PlanFacts(MACHINE, "a" * 64, "fp16", {"level": "2"})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATD_CACHE", str(tmp_path))
    plans.store_plan(FACTS, b"plan")
    plans.store_timing(MACHINE, b"times")
    return tmp_path / "plans"


def test_a_plan_says_what_it_was_made_of_and_for(folder: Path) -> None:
    (path,) = folder.glob("*.plan")
    found = kinds.inspect(path)
    assert (found.what, found.faults) == ("plan", ())
    summary = dict(found.summary)
    assert (summary["size"], summary["precision"]) == (Size(4), "fp16")
    assert "a" * 64 in str(summary["graph"])
    rows = {row for sheet in found.sheets for row in sheet.rows}
    assert rows >= {("version", "10.3.0"), ("device", "Orin"), ("sm", "8.7"), ("level", "2")}
    assert found.facts["machine"]["driver"] == "540.3.0"


def test_a_timing_cache_has_a_machine_and_no_graph(folder: Path) -> None:
    (path,) = folder.glob("*.timing")
    found = kinds.inspect(path)
    assert (found.what, [sheet.title for sheet in found.sheets]) == ("timing cache", ["made on and for"])
    assert "graph" not in dict(found.summary)


def test_a_plan_from_elsewhere_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "other.plan"
    path.write_bytes(b"ftrt" + bytes(100))
    with pytest.raises(FormatError, match="is no file of TensorRT's that atd wrote"):
        plan.inspect(path)
