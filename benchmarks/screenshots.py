"""Pictures of the page at /, for README and docs: `make screenshots`.

    python -m benchmarks.screenshots --folder quickstart --out docs/pictures

A server of the folder's bundle is started on a free port, and Chromium asks it about a sample that it offers. A picture
shows the quickest of several requests, so that it says little of what else the machine did. Needs playwright and a
browser on PATH.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from adaptertune_deploy.core.errors import AtdError, UsageError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.serve.facts.about import read_about
from adaptertune_deploy.serve.facts.told import Told
from adaptertune_deploy.serve.http.admin import bind_admin
from adaptertune_deploy.serve.http.app import make_app
from adaptertune_deploy.serve.http.server import serving
from adaptertune_deploy.serve.sessions.session import open_session

if TYPE_CHECKING:
    from playwright.sync_api import Browser, FloatRect, Page

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ASKED = 10
LARGEST = 150_000  # bytes of one picture
WAIT_MS = 60_000


@dataclass(frozen=True)
class Shot:
    """One picture.

    name: of its file.
    scheme: "light" or "dark".
    width, height: of the window in CSS pixels.
    scale: pixels of the picture for one CSS pixel.
    admin: whether it is the form of the admin listener's page.
    """

    name: str
    scheme: str
    width: int
    height: int
    scale: float
    admin: bool = False


SHOTS = (
    Shot("page-light.webp", "light", 1180, 952, 1.5),
    Shot("page-dark.webp", "dark", 1180, 952, 1.5),
    Shot("page-admin.webp", "light", 1180, 952, 1.5, admin=True),
    Shot("page-phone.webp", "light", 390, 1720, 2),
)
TOKEN = "only for a picture"
MARGIN = 24  # CSS pixels around the form


def take(folder: Path, out: Path, shots: Sequence[Shot], sample: int, asked: int = ASKED) -> list[Path]:
    """Take pictures of the page that serves `folder`/bundle, and return their paths.

    Args:
        folder: what `atd quickstart` made: bundle/ and adapters/.
        out: where the pictures go.
        shots: which ones.
        sample: place of the sample that is asked about, among those that the page offers.
        asked: how often; the quickest request is shown.

    Raises:
        UsageError: no browser.
    """
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        raise UsageError(f"no browser: none of {', '.join(BROWSERS)} is on PATH; on Debian: apt-get install chromium")
    bundle = folder / "bundle"
    session = open_session(bundle)
    about = read_about(bundle, session.form, Precision.FP32, folder / "adapters")
    out.mkdir(parents=True, exist_ok=True)
    admin = bind_admin("127.0.0.1:0", TOKEN)
    try:
        with serving(make_app(session, told=Told(about)), admin=admin) as url, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
            return [
                _write(
                    out / shot.name,
                    _form(browser, f"{admin.where}/", shot)
                    if shot.admin
                    else _shoot(browser, f"{url}/", shot, sample, asked),
                )
                for shot in shots
            ]
    finally:
        session.close()


def _open(browser: Browser, url: str, shot: Shot) -> Page:
    context = browser.new_context(
        viewport={"width": shot.width, "height": shot.height},
        color_scheme="dark" if shot.scheme == "dark" else "light",
        device_scale_factor=shot.scale,
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    page.goto(url)
    page.locator(".state.good").wait_for()
    return page


def _form(browser: Browser, url: str, shot: Shot) -> bytes:
    """Return a picture of the form that adds and removes tasks, and of the tasks above it."""
    page = _open(browser, url, shot)
    page.get_by_label("Token of this server").fill(TOKEN)
    page.evaluate("document.activeElement.blur()")
    page.evaluate("scrollTo(0, 0)")
    box = page.locator("section.tasks").bounding_box()
    assert box is not None
    clip: FloatRect = {
        "x": box["x"] - MARGIN,
        "y": box["y"],
        "width": box["width"] + 2 * MARGIN,
        "height": box["height"] + MARGIN,
    }
    shown = page.screenshot(full_page=True, clip=clip)
    page.context.close()
    return shown


def _shoot(browser: Browser, url: str, shot: Shot, sample: int, asked: int) -> bytes:
    page = _open(browser, url, shot)
    best: tuple[float, bytes] | None = None
    for _ in range(asked):
        spent = _ask(page, sample)
        if best is None or spent < best[0]:
            best = spent, page.screenshot()
    page.context.close()
    assert best is not None
    return best[1]


def _ask(page: Page, sample: int) -> float:
    """Ask about a sample; return the milliseconds that the server took."""
    with page.expect_response("**/v1/predict*") as answered:
        page.locator("#sample-list button").nth(sample).click()
    spent = float(answered.value.json()["latency_ms"]["total"])
    page.locator("#answers:not([aria-busy])").wait_for()
    page.evaluate("document.activeElement.blur()")
    page.mouse.move(0, 0)
    page.evaluate("scrollTo(0, 0)")
    return spent


def _write(path: Path, data: bytes) -> Path:
    """Write a picture, without loss where that stays small."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    image.save(path, lossless=True, quality=100, method=6)
    if path.stat().st_size > LARGEST:
        image.save(path, quality=90, method=6)
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("quickstart"), help="what atd quickstart made")
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--sample", type=int, default=1, help="place of the sample to ask about")
    given = parser.parse_args(arguments)
    try:
        for path in take(given.folder, given.out, SHOTS, given.sample):
            print(f"wrote {path} ({path.stat().st_size:,} bytes)")
    except AtdError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
