"""benchmarks.robustness.soak for seconds, on a bundle that answers at once: everything is asked, nothing is wrong."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from adaptertune_deploy.bench.machine import describe_machine
from benchmarks.clients.http1 import Question
from benchmarks.robustness import soak, soak_page
from benchmarks.robustness.bad_traffic import attacks

GOLDEN = Path(__file__).parents[2] / "device" / "golden" / "bundle"


@pytest.mark.case(
    "B12",
    "good and bad traffic together: seconds in the tests, ten minutes at twice the capacity with `make soak`",
    "every answer is the one computed offline, health always answers",
)
def test_good_and_bad_traffic_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "soak.json"
    limits = ["--seconds", "1", "--warm", "0.3", "--most", "40"]
    soak.main(["--bundle", str(GOLDEN), *limits, "--json", str(target)])
    facts = json.loads(target.read_text())
    assert json.loads(capsys.readouterr().out) == facts
    load = facts["overload"]
    assert (load["wrong"], load["attacks_wrong"], load["not_sent"]) == ([], [], 0)
    assert 0 < load["sent"] == sum(load["statuses"].values())
    assert set(load["statuses"]) <= {"200", "503"}
    assert set(load["attacks"]) == set(attacks(Question("birds", b"", {})))
    assert facts["health"]["probes"] > 0
    assert facts["health"]["failed"] == 0
    assert facts["capacity_rows_per_s"]["before"] > 0
    for found in facts["noisy_neighbour"].values():
        assert (set(found["quiet"]), found["wrong"]) == ({"200"}, [])
        assert found["noisy"]["200"] > 0
    assert "| wrong answers | 0 | 0 |" in soak_page.page(facts)


def test_the_noisy_neighbour_alone_goes_beside_what_this_machine_did_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, started = tmp_path / "soak.json", []

    def stand_in(bundle: Path, asked: list[Question], seconds: float) -> dict[str, str]:
        started.append((bundle, len(asked), seconds))
        return {"8": "new"}

    monkeypatch.setattr(soak, "neighbours", stand_in)
    arguments = ["--bundle", str(GOLDEN), "--noisy", "--warm", "3", "--json", str(target)]
    with pytest.raises(SystemExit, match="is not of this machine with these versions; run all of it"):
        soak.main(arguments)
    machine = json.loads(json.dumps(asdict(describe_machine())))
    earlier = {"machine": machine, "overload": "old", "noisy_neighbour": {"1": "old", "8": "old"}}
    target.write_text(json.dumps(earlier))
    soak.main(arguments)
    assert json.loads(target.read_text()) == {**earlier, "noisy_neighbour": {"8": "new"}}
    ((bundle, count, seconds),) = started
    assert (bundle, count > 0, seconds) == (GOLDEN, True, 3.0)
    target.write_text(json.dumps({**earlier, "machine": {**machine, "cores": 999}}))
    with pytest.raises(SystemExit):
        soak.main(arguments)


def test_growth_is_that_of_the_end_over_the_beginning() -> None:
    assert soak.growth([0, 0, 100, 100, 100, 100, 130, 130]) == 30.0
    assert soak.growth([5.0] * 100) == soak.growth([7.0]) == 0.0


def test_health_is_told_in_milliseconds() -> None:
    found = soak.health([0.001, None, 0.003, 0.002])
    assert found == {"probes": 4, "failed": 1, "p50_ms": 2.0, "p99_ms": 3.0, "max_ms": 3.0}


def test_pictures_differ() -> None:
    assert len({soak.picture(place) for place in range(soak.IMAGES)}) == soak.IMAGES
