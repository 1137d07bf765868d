"""benchmarks.screenshots: pictures of the page, small enough to be committed."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
from PIL import Image

from adaptertune_deploy.core.adapter import folder as adapters
from adaptertune_deploy.core.adapter.samples import keep
from benchmarks.screenshots import BROWSERS, LARGEST, Shot, take
from tests.browser.conftest import GOLDEN, IMAGES

SHOTS = (
    Shot("light.webp", "light", 700, 500, 1),
    Shot("dark.webp", "dark", 390, 844, 1),
    Shot("admin.webp", "light", 700, 500, 1, True),
)


def test_pictures_are_taken_in_both_themes(tmp_path: Path) -> None:
    pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    if not any(map(shutil.which, BROWSERS)):
        pytest.skip("no browser on PATH; on Debian: apt-get install chromium")
    folder = tmp_path / "golden"
    shutil.copytree(GOLDEN, folder)
    config = adapters.read_config(folder / "adapters" / "birds")
    give = keep(folder / "adapters" / "birds", [(IMAGES[0].read_bytes(), ".png", "a bird")], travel=True)
    adapters.write_config(folder / "adapters" / "birds", dataclasses.replace(config, samples=give))
    light, dark, admin = take(folder, tmp_path / "pictures", SHOTS, sample=0, asked=2)
    sizes, corners = [], []
    for path in (light, dark, admin):
        with Image.open(path) as image:
            sizes.append(image.size)
            corners.append(image.convert("RGB").getpixel((2, 2)))
        assert path.stat().st_size <= LARGEST
    assert sizes[0] == (700, 500)
    assert sizes[1] == (390, 844)
    assert corners == [(255, 255, 255), (15, 18, 20), (255, 255, 255)]
    assert sizes[2][0] <= 700  # a part of the page
    assert sizes[2][1] < 900
