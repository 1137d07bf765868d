from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from adaptertune_deploy.bench import tuning
from adaptertune_deploy.bench.machine import Machine
from adaptertune_deploy.bench.tried import Checked, Evidence, LeftOut
from adaptertune_deploy.bench.tuning import Tuning, find_tuning, graphs_hash, read_tuning, served_form, write_tuning
from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.core.precision import Precision
from tests.bench.planted import tried
from tests.builders import make_adapter, make_task, put_graph, write_bundle

HERE = Machine("A CPU avx2", 4, 16, (), "3.12.1", {"onnxruntime": "1.32.0"})
GRAPHS = "a" * 64


def make_tuning(machine: Machine = HERE, graphs: str = GRAPHS) -> Tuning:
    untuned, fast = tried(), tried("openvino", Precision.BF16, 2, 4, 20.0, gain=2.0)
    checked = Checked("openvino", Precision.BF16, 64, 63, 0.01, 0.2)
    out = LeftOut("openvino", Precision.INT8_QDQ, 0, "changes answers")
    evidence = Evidence((untuned, fast), (untuned, fast), (checked,), (out,))
    return Tuning(1, graphs, "shared", machine, "2026-01-02 03:04 UTC", (Precision.BF16,), None, fast, evidence)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATD_CACHE", str(tmp_path))


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    path = write_tuning(make_tuning())
    assert path.parent == tmp_path / "tuning"
    assert read_tuning(path) == make_tuning()
    assert find_tuning(GRAPHS, HERE).tuning == make_tuning()
    assert make_tuning().words == (
        "openvino in bf16 on 2 threads, batches of 4, measured 2026-01-02 03:04 UTC on 4 cores of A CPU avx2"
    )


def test_without_a_tuning_there_is_nothing_to_say() -> None:
    assert find_tuning(GRAPHS, HERE) == tuning.Lookup()
    write_tuning(make_tuning())
    assert find_tuning("b" * 64, HERE) == tuning.Lookup()


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (replace(HERE, processor="B CPU"), "here processor A CPU avx2, there B CPU"),
        (replace(HERE, cores=64), "here 4 cores, there 64"),
        (replace(HERE, versions={"onnxruntime": "1.31.0"}), "here onnxruntime 1.32.0, there 1.31.0"),
    ],
)
def test_a_tuning_of_another_machine_is_not_followed(there: Machine, said: str) -> None:
    write_tuning(make_tuning(there))
    found = find_tuning(GRAPHS, HERE)
    assert found.tuning is None
    assert found.reason == f"it was measured 2026-01-02 03:04 UTC on another machine ({said})"


def test_machines_that_share_a_cache_keep_a_tuning_each_and_an_update_replaces_its_own(tmp_path: Path) -> None:
    updated = replace(HERE, versions={"onnxruntime": "1.33.0"})
    for machine in (HERE, replace(HERE, cores=64), updated):
        write_tuning(make_tuning(machine))
    assert len(list((tmp_path / "tuning").iterdir())) == 2
    assert find_tuning(GRAPHS, updated).tuning is not None
    assert find_tuning(GRAPHS, HERE).tuning is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format_version": 2}, "format_version is 2, this release reads 1; use a matching release"),
        ({"format_version": 0}, "format_version is 0, this release reads 1; measure again with: atd tune"),
        ({"surplus": 1}, "surplus"),
        ({"allowed": []}, "the choice is in bf16, which was not allowed"),
        ({"form": "other"}, "form 'other' must be one of shared, merged"),
        ({"graphs": "x"}, "must be 64 hexadecimal digits"),
        ({"evidence": {"looked": [], "final": [], "checked": [], "left_out": []}}, "the choice is none of those"),
    ],
)
def test_a_file_that_is_not_understood_is_refused_and_not_followed(change: dict[str, object], said: str) -> None:
    path = write_tuning(make_tuning())
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(FormatError, match=said):
        read_tuning(path)
    found = find_tuning(GRAPHS, HERE)
    assert found.tuning is None
    assert said in str(found.reason)


def test_a_file_under_another_name_is_not_followed() -> None:
    path = write_tuning(make_tuning())
    other = "a" * tuning.DIGITS + "b" * 48
    assert tuning.place(other, HERE) == path
    assert "is of other graphs" in str(find_tuning(other, HERE).reason)


def test_the_hash_is_of_the_graphs_of_a_form_whatever_the_tasks(tmp_path: Path) -> None:
    one = write_bundle(tmp_path / "one")
    two = write_bundle(tmp_path / "two", [make_adapter(), make_adapter(make_task("cars"))])
    assert graphs_hash(one, "shared") == graphs_hash(two, "shared")
    other = write_bundle(tmp_path / "other", graph=b"another")
    assert graphs_hash(one, "shared") != graphs_hash(other, "shared")
    both = put_graph(tmp_path / "one", one, b"merged", "pets")
    assert graphs_hash(both, "shared") == graphs_hash(one, "shared")
    assert graphs_hash(both, "merged") not in (graphs_hash(one, "merged"), graphs_hash(both, "shared"))
    assert (served_form(both), served_form(both, "merged")) == ("shared", "merged")
    merged = replace(both, graphs=tuple(graph for graph in both.graphs if graph.task))
    assert served_form(merged) == "merged"
    assert served_form(replace(one, graphs=())) is None
