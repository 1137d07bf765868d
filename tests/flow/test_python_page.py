"""docs/python.md and the README's lines of Python do what they say: they run in their order, in one folder."""

from __future__ import annotations

import io
import os
import re
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adaptertune_deploy.core.bundle.folder import read_manifest
from tests.flow.playing import ROOT

PAGE = (ROOT / "docs" / "python.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
README = (ROOT / "README.md").read_text().split("## From Python\n")[1].split("\n## ")[0]
# The README's bundle holds pets, this one the images of the page.
(SHORT,) = re.findall(r"```python\n(.*?)```", README.replace('"pets"', '"my-images"'), re.DOTALL)
CLASSES = {"Bengal": (200, 90, 30), "pug": (40, 90, 190)}


def draw_images(folder: Path) -> None:
    """Write noise in one of two colours, a folder for each."""
    draw = np.random.default_rng(0)
    for name, colour in CLASSES.items():
        (folder / "my-images" / name).mkdir(parents=True)
        for place in range(24):
            pixels = np.clip(draw.normal(colour, 25, (64, 64, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "my-images" / name / f"{place}.png")
    for name, label in (("cat.jpg", "pug"), ("dog.jpg", "Bengal")):
        Image.fromarray(np.full((80, 100, 3), CLASSES[label], np.uint8)).save(folder / name)


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What each block printed."""
    folder, found, names = tmp_path_factory.mktemp("python"), [], {"__name__": "__main__"}
    draw_images(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("ATD_CACHE", str(folder / "cache"))
        for block in (*BLOCKS, SHORT):
            out = io.StringIO()
            with redirect_stdout(out):
                exec(compile(block, "docs/python.md", "exec"), names)
            found.append(out.getvalue())
        record = read_manifest(Path("bundle")).tasks[0]
        assert os.listdir("bundle/adapters") == [Path(record.file).name]
    return found


def test_training_names_the_folder_and_what_ships(printed: list[str]) -> None:
    assert re.search(r"^adapters/my-images (head|adapter) [01]\.\d+$", printed[0], re.MULTILINE)


def test_both_forms_are_exported_and_lie_close_to_torch(printed: list[str]) -> None:
    lines = [line.split() for line in printed[1].splitlines()]
    assert [(line[0].split("-")[0], line[1]) for line in lines] == [
        ("backbone", "my-images"),
        ("merged/my", "my-images"),
    ]
    assert all(float(line[3]) < 1e-4 for line in lines)


def test_a_path_an_image_and_an_array_are_answered_alike(printed: list[str]) -> None:
    first, *answers, features = printed[2].splitlines()
    assert first == "['my-images'] CPUExecutionProvider"
    assert [answer.split(" ", 1)[0] for answer in answers] == ["0", "1", "2"]
    assert len({answer.split(" ", 1)[1] for answer in answers}) == 1
    assert answers[0].split()[1:3] == ["my-images", "pug"]
    assert re.fullmatch(r"\(1, \d+\) float32", features)
    assert printed[3] == "merged pug\n"


def test_a_task_is_added_and_verified(printed: list[str]) -> None:
    assert "('Bengal', 'pug') head only" in printed[4]
    last = printed[4].splitlines()[-1]
    assert last.startswith("adapters/my-images-")
    assert last.endswith("verified")


def test_a_mistake_is_one_line_with_what_to_do(printed: list[str]) -> None:
    assert re.fullmatch(r".*no task 'my-image'.*Did you mean 'my-images'\?\n", printed[5])


def test_the_readme_answers_every_image(printed: list[str]) -> None:
    found = [line.split() for line in printed[6].splitlines()]
    assert [row[:3] for row in found] == [["0", "my-images", "pug"], ["1", "my-images", "Bengal"]]
    assert len(printed) == 7
