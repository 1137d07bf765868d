"""serve.http.index: the facts of a server as JSON, and the page for who asks for HTML."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from adaptertune_deploy.core.answers.accuracy import AccuracyRecord
from adaptertune_deploy.core.storage.files import sha256_bytes
from adaptertune_deploy.serve.facts.about import About, AboutTask, Sample
from adaptertune_deploy.serve.facts.told import Told
from adaptertune_deploy.serve.http.app import make_app
from adaptertune_deploy.serve.http.server import serving
from tests.builders import make_backbone_spec
from tests.serve.conftest import Launcher, Running
from tests.serve.fakes import make_shared

UNREAD = frozenset({""})  # what was loaded of no file


@pytest.fixture(scope="module")
def told(png: bytes) -> Iterator[httpx.Client]:
    """A server about which everything is known of `pets` and nothing of the other tasks."""
    pets = AboutTask(
        1234, AccuracyRecord("oxford", 200, 190), UNREAD, (Sample(png, "image/png", "cat", sha256_bytes(png)),)
    )
    about = About(make_backbone_spec(width=8, depth=4), 5_000_000, {"pets": pets})
    with serving(make_app(make_shared(), told=Told(about))) as url, httpx.Client(base_url=url) as client:
        yield client


def test_it_lists_tasks_and_endpoints(server: Running) -> None:
    document = server.client.get("/").json()
    classes = {name: task["classes"] for name, task in document["tasks"].items()}
    assert classes == {"pets": 3, "flowers": 5, "digits": 2}
    assert document["tasks"]["flowers"] == {"version": "1", "tier": "device", "classes": 5, "rank": 4, "blocks": [1, 3]}
    assert (document["form"], document["provider"], document["not_ready"]) == ("shared", "CPUExecutionProvider", None)
    runs = [document[name] for name in ("engine", "engine_version", "device", "precision")]
    assert runs == ["fake", "1", "cpu", "fp32"]
    batch = server.service.batcher
    assert batch.times is not None
    assert document["batch"]["rows"] == batch.rows <= 8
    assert document["batch"]["at_once"] == batch.instances == 1  # this engine's runs share no threads
    assert document["batch"]["images_per_s"] == {str(rows): round(rate, 1) for rows, rate in batch.times.rates.items()}
    assert document["limits"] == {"rows": 64, "bytes": 20_000_000, "pixels": 25_000_000}
    assert {"/v1/predict", "/v2/models/{model}/infer", "/metrics"} <= set(document["endpoints"])


def test_it_tells_what_is_known_of_a_task(told: httpx.Client) -> None:
    document = told.get("/").json()
    assert document["backbone"] == {
        "name": make_backbone_spec().name,
        "blocks": 4,
        "width": 8,
        "bytes": 5_000_000,
    }
    # Wilson's 95 % interval of 190 of 200, as R's prop.test(190, 200, correct = FALSE) gives it.
    accuracy = {"dataset": "oxford", "images": 200, "top1": 0.95, "low": 0.9104, "high": 0.9726}
    assert document["tasks"]["pets"]["accuracy"] == accuracy
    assert document["tasks"]["pets"]["bytes"] == 1234
    assert document["tasks"]["pets"]["samples"] == [{"path": "samples/pets/0", "label": "cat"}]
    assert "accuracy" not in document["tasks"]["digits"]


def test_it_says_why_no_requests_should_come(launch: Launcher) -> None:
    running = launch()
    running.service.draining = True
    assert running.client.get("/").json()["not_ready"] == "the server is shutting down"
    running.service.draining = False


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("text/html", "text/html; charset=utf-8"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html; charset=utf-8"),
        ("text/html;q=0.4, application/json", "application/json"),
        ("text/html;q=0", "application/json"),
        ("text/html;q=never", "application/json"),
    ],
)
def test_the_accept_header_chooses_between_page_and_json(server: Running, accept: str | None, kind: str) -> None:
    response = httpx.get(f"{server.url}/", headers={"Accept": accept} if accept else {})
    assert (response.status_code, response.headers["content-type"], response.headers["vary"]) == (200, kind, "Accept")
