"""docs/operating.md says what a real server says: metrics, reasons, signals, codes, options, probes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer.main

from adaptertune_deploy.cli import main
from adaptertune_deploy.serve.batching.engine_health import FAILURES, EngineHealth
from adaptertune_deploy.serve.http import server
from adaptertune_deploy.serve.http.app import make_app
from adaptertune_deploy.serve.http.server import serving
from adaptertune_deploy.serve.http.wire.phase import Phase
from adaptertune_deploy.serve.settings import Settings, variable
from tests.docs.test_guides import check_options, commands
from tests.serve.fakes import FakeEngine, make_shared

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operating.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table whose first column has this name."""
    table = PAGE.split(f"| {heading} |", 1)[1].split("\n\n", 1)[0]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A real server that keeps answers and has given one, and one over gRPC too as far as its metrics know."""
    app = make_app(make_shared(FakeEngine()), Settings(cache=1))
    app.state.service.metrics.called("ServerLive", "OK")
    app.state.service.metrics.cut_off("head")
    with serving(app) as url:
        while httpx.get(f"{url}/v2/health/ready").status_code != 200:
            pass
        httpx.get(f"{url}/nothing")
        yield url


def shown(text: str) -> dict[str, tuple[str, set[str]]]:
    """Return what /metrics shows: name -> type and labels, without the one that a histogram's buckets have."""
    found: dict[str, tuple[str, set[str]]] = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            name, kind = line.split()[2:]
            found[name] = (kind, set())
        elif not line.startswith("#"):
            found[name][1].update(re.findall(r'(\w+)="', line))
    return {name: (kind, labels - {"le"}) for name, (kind, labels) in found.items()}


def test_the_metrics_are_those_of_a_server(url: str) -> None:
    found = shown(httpx.get(f"{url}/metrics").text)
    told = {name: (kind, set(filter(None, labels.split(", ")))) for name, kind, labels, _ in rows("name")}
    assert told == found


def test_the_phases_of_a_connection_are_all_there() -> None:
    (meaning,) = [row[3] for row in rows("name") if row[0] == "atd_connections"]
    assert meaning.split(": ")[1] == ", ".join(phase.value for phase in Phase)


def test_metrics_in_queries_and_labels_in_them_exist() -> None:
    names = {row[0] for row in rows("name")}
    queries = PAGE.split("What to watch:")[1].split("## Signals")[0]
    for name in re.findall(r"\batd_\w+", queries):
        assert re.sub(r"_(bucket|sum|count)$", "", name) in names, name
    for limit in re.findall(r'limit="(\w+)"', queries):
        assert limit in {field.name for field in dataclasses.fields(Settings)}


def test_the_paths_of_health_answer(url: str) -> None:
    asked = [row[0].removeprefix("GET ").replace("TASK", "pets") for row in rows("ask")]
    probed = re.findall(r"path: ([\w/]+)", PAGE)
    assert len(asked) == 3
    assert len(probed) == 3
    for path in (*asked, *probed):
        assert httpx.get(f"{url}{path}").status_code == 200, path


def test_the_reasons_are_those_that_a_server_gives() -> None:
    health = EngineHealth(run_timeout=0.0)
    reasons = set()
    service = make_app(make_shared(FakeEngine())).state.service
    reasons.add(service.not_ready)
    service.draining = True
    reasons.add(service.not_ready)
    service.batcher.failure = RuntimeError()
    reasons.add(service.not_ready)
    health.began()
    while health.problem is None:
        pass
    reasons.add(health.problem)
    for _ in range(FAILURES):
        health.ended(fine=False)
    reasons.add(health.problem)
    assert {re.sub(r"\d+", "N", reason) for reason in reasons} == {row[0] for row in rows("reason")}


def test_the_time_before_a_kill_is_enough() -> None:
    usual = Settings()
    needed = usual.drain_delay + usual.drain_timeout + 2 * server.MARGIN_S
    (said,) = re.findall(r"before SIGKILL, (\d+) by default", PAGE)
    (granted,) = re.findall(r"terminationGracePeriodSeconds: (\d+)", PAGE)
    (unit,) = re.findall(r"TimeoutStopSec=(\d+)", (ROOT / "docs" / "guides" / "atd-serve.service").read_text())
    assert needed + 1 == int(said)
    assert needed < min(int(granted), int(unit))


def test_options_variables_and_links_exist() -> None:
    program: Any = typer.main.get_command(main.app)
    params = program.commands["serve"].params
    options = {name for param in params for name in param.opts}
    variables = {param.envvar for param in params if param.envvar} | {"ATD_CACHE"}
    assert set(re.findall(r"`(--[a-z-]+)`", PAGE)) <= options
    assert set(re.findall(r"\bATD_[A-Z_]+\b", PAGE)) <= variables
    assert variable("max_batch") in variables
    for words in commands(PAGE):
        check_options(words)
    (arguments,) = re.findall(r"args: \[(.*)\]", PAGE)
    check_options(["atd", *arguments.split(", ")])
    for target in re.findall(r"\]\(([^)#:]+)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
