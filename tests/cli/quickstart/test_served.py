from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from adaptertune_deploy.cli.quickstart.served import ask_server
from adaptertune_deploy.core.adapter import samples
from adaptertune_deploy.core.adapter.folder import read_config, write_config
from adaptertune_deploy.core.errors import AtdError
from adaptertune_deploy.core.storage import tensors
from tests.cli.conftest import GOLDEN

SHAPES = {"birds": (4, 3), "cars": (4, 5), "trees": (4, 4), "cars-adapter": (4, 5)}


def with_samples(folder: Path, task: str, travel: bool) -> Path:
    """Give a golden adapter folder held-back images, each with torch's answer as its label, the last with another."""
    best = tensors.unpack((GOLDEN / "logits.safetensors").read_bytes(), SHAPES, "")[task].argmax(axis=1)
    place = folder / "adapters" / task
    labels = [f"{task} {best[index] if index < 3 else (best[index] + 1) % 3}" for index in range(4)]
    pictures = [(folder / "images" / f"{index}.png").read_bytes() for index in range(4)]
    images = [(data, ".png", label) for data, label in zip(pictures, labels, strict=True)]
    write_config(place, replace(read_config(place), samples=samples.keep(place, images, travel)))
    return place


def test_a_real_server_answers_all_tasks_in_one_request(folder: Path) -> None:
    told: list[tuple[str, int, int]] = []
    folders = [with_samples(folder, "birds", travel=True), with_samples(folder, "cars", travel=False)]
    served = ask_server(folder / "bundle", folders, lambda *step: told.append(step))
    assert (served.images, served.right) == (8, 6)
    assert served.largest_difference < 1e-5
    assert set(served.latency_ms) == {"birds", "cars"}
    assert told[-1] == ("serve cars", 20, 20)


def test_without_held_back_images_it_says_so(folder: Path) -> None:
    with pytest.raises(AtdError, match="the images that training held back are gone; train the task again"):
        ask_server(folder / "bundle", [folder / "adapters" / "birds"], lambda *_: None)
