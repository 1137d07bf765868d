"""Headless Chromium before a real server: the golden bundle on ONNX Runtime, with images to try."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from adaptertune_deploy.core.answers.accuracy import AccuracyRecord
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.core.storage.files import sha256_bytes
from adaptertune_deploy.serve.facts.about import About, Sample, read_about
from adaptertune_deploy.serve.facts.told import Told
from adaptertune_deploy.serve.http.app import make_app
from adaptertune_deploy.serve.http.server import serving
from adaptertune_deploy.serve.offline.opened import OpenBundle
from adaptertune_deploy.serve.sessions.session import open_session

GOLDEN = Path(__file__).parents[1] / "device" / "golden"
IMAGES = sorted((GOLDEN / "images").glob("*.png"))
NAMES = ("chromium", "chromium-browser", "google-chrome")
# As root, in a container, Chromium's own sandbox can't start; the camera is one of moving test pictures.
FLAGS = ("--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
WAIT_MS = 30_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


# Of a module, not of the session: while it is open its thread has a running event loop, in which asyncio.run refuses.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser; tests that need one are skipped where there is none, or ATD_CHROMIUM names none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    found = os.environ.get("ATD_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is on PATH; on Debian: apt-get install chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=found, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """The address of a server of `birds` and `cars`, about which everything is known but the accuracy of `cars`."""
    session = open_session(GOLDEN / "bundle")
    with serving(make_app(session, told=Told(make_about()))) as url:
        wait_ready(url)
        yield url + "/"
    session.close()


def make_about() -> About:
    place = GOLDEN / "bundle"
    about = read_about(place, "shared", Precision.FP32, GOLDEN / "adapters")
    data = IMAGES[1].read_bytes()
    samples = (Sample(data, "image/png", "a bird", sha256_bytes(data)),)
    birds = replace(about.tasks["birds"], accuracy=AccuracyRecord("squares", 20, 15), samples=samples)
    return replace(about, tasks={**about.tasks, "birds": birds})


def wait_ready(url: str) -> None:
    for _ in range(10_000):
        if httpx.get(f"{url}/v2/health/ready").status_code == 200:
            return
    raise AssertionError("the server never became ready")


@dataclass
class Visit:
    """One open page: what it asked the network for, and what its console said."""

    page: Any
    requests: list[Any]
    complaints: list[str]

    @property
    def questions(self) -> list[Any]:
        """The requests for an answer about a picture."""
        return [request for request in self.requests if request.method == "POST"]

    def answers(self) -> dict[str, list[tuple[str, str]]]:
        """Return what the cards say, once an answer is there: task -> (label, percentage)."""
        self.page.wait_for_selector(".card .bars li", timeout=WAIT_MS)
        self.page.wait_for_selector("#answers:not([aria-busy])", timeout=WAIT_MS)
        return {
            card.query_selector("h3").inner_text(): [
                (bar.query_selector(".label").inner_text(), bar.query_selector(".share").inner_text())
                for bar in card.query_selector_all(".bars li")
            ]
            for card in self.page.query_selector_all(".card")
        }

    def pick(self, file: Path | dict[str, Any]) -> None:
        """Give the page a picture as the file dialog does."""
        self.page.set_input_files("#file", file)

    def trouble(self) -> str:
        """Return what stands where the picture was, once something does."""
        found: str = self.page.wait_for_selector("#trouble:not([hidden])", timeout=WAIT_MS).inner_text()
        return found


Opener = Callable[..., Visit]


@pytest.fixture
def visit(chromium: Any, site: str) -> Iterator[Opener]:
    """Open pages, each in a profile of its own; in the end no page has complained or asked another server."""
    with ExitStack() as stack:
        visits: list[tuple[str, Visit]] = []

        def start(url: str = site, width: int = 1280, height: int = 900, **options: Any) -> Visit:
            context = chromium.new_context(viewport={"width": width, "height": height}, **options)
            stack.callback(context.close)
            made = Visit(context.new_page(), [], [])
            visits.append((url, made))
            made.page.set_default_timeout(WAIT_MS)
            made.page.on("request", lambda request: made.requests.append(request))
            made.page.on("console", lambda message: _note(made, message))
            made.page.on("pageerror", lambda error: made.complaints.append(str(error)))
            made.page.goto(url)
            made.page.wait_for_selector(".chip")
            return made

        yield start
        for url, made in visits:
            assert made.complaints == []
            assert [asked.url for asked in made.requests if not asked.url.startswith(url)] == []


def _note(visit: Visit, message: Any) -> None:
    # A refused picture is a status other than 200, which Chromium always mentions.
    if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
        visit.complaints.append(message.text)


@functools.cache
def expected(data: bytes) -> dict[str, list[tuple[str, str]]]:
    """Return what the cards must say about an image, from the code that answers without a server."""
    with OpenBundle(open_session(GOLDEN / "bundle")) as opened:
        return {
            answer.task: [(label.label, f"{100 * label.probability:.1f}\u00a0%") for label in answer.top]
            for answer in opened.predict(data)
        }
