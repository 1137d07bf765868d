from __future__ import annotations

import shutil
from pathlib import Path

from adaptertune_deploy.cli.served import ask_server
from adaptertune_deploy.core import tensors
from tests.cli.conftest import GOLDEN

SHAPES = {"birds": (4, 3), "cars": (4, 5), "trees": (4, 4)}


def with_samples(folder: Path, task: str) -> Path:
    """Give a golden adapter folder its samples, each named after what torch answers, the last after another class."""
    best = tensors.unpack((GOLDEN / "logits.safetensors").read_bytes(), SHAPES, "")[task].argmax(axis=1)
    samples = folder / "adapters" / task / "samples"
    samples.mkdir()
    for index in range(4):
        label = best[index] if index < 3 else (best[index] + 1) % 3
        shutil.copy(folder / "images" / f"{index}.png", samples / f"{index:05d}_{task}_{label}.png")
    return samples.parent


def test_a_real_server_answers_all_tasks_in_one_request(folder: Path) -> None:
    told: list[tuple[str, int, int]] = []
    folders = [with_samples(folder, task) for task in ("birds", "cars")]
    served = ask_server(folder / "bundle", folders, lambda *step: told.append(step))
    assert (served.images, served.right) == (8, 6)
    assert served.largest_difference < 1e-5
    assert set(served.latency_ms) == {"birds", "cars"}
    assert told[-1] == ("serve cars", 20, 20)
