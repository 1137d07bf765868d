"""Wrong words on the command line: one line that says what to type instead, before any library is loaded."""

from __future__ import annotations

import socket
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest

from tests.flow.playing import Mistake, play

IMAGE = "images/0.png"


def _trained_but_not_added(folder: Path) -> None:
    assert (folder / "adapters" / "trees").is_dir()


def _my_pets(folder: Path) -> None:
    for split in ("train", "test"):
        for label in ("cat", "dog"):
            (folder / "my pets" / split / label).mkdir(parents=True)
            for number in range(2):
                (folder / "my pets" / split / label / f"{number}.png").write_bytes((folder / IMAGE).read_bytes())


MISTAKES = {
    # wrong values are called as on the command line
    "queue limit": Mistake("serve --queue-limit 0", ("--queue-limit",), never=("max_request_rows",)),
    "max batch": Mistake("serve --max-batch 0", ("--max-batch",), never=("max_batch",)),
    "drain delay": Mistake("serve --drain-delay -1", ("--drain-delay",), never=("drain_delay",)),
    "port": Mistake("serve --port 80000", ("--port", "80000")),
    "threads": Mistake(f"predict {IMAGE} --threads -1", ("--threads",)),
    "rank": Mistake("train --dataset digits --rank -1", ("--rank -1",)),
    "no number": Mistake("train --dataset digits --rank eight", ("--rank", "eight"), never=("unable to parse",)),
    "epochs": Mistake("train --dataset digits --epochs -1", ("--epochs",)),
    "learning rate": Mistake("train --dataset digits --lr nan", ("--lr",)),
    "placement": Mistake("train --dataset digits --placement lst:4", ("--placement lst:4",)),
    "precision": Mistake("train --dataset digits --precision fp8", ("--precision", "fp8")),
    "form": Mistake(f"predict {IMAGE} --form mergd", ("form 'mergd'", "Did you mean 'merged'?")),
    "top-k": Mistake(f"predict {IMAGE} --top-k 0", ("--top-k",)),
    # words that don't exist
    "no such option": Mistake("train --dataset digits --rnk 8", ("--rnk", "--rank")),
    "no such command": Mistake("trian --dataset digits", ("trian", "train")),
    "no dataset": Mistake("train", ("--dataset",)),
    "no images": Mistake("predict", ("IMAGE",)),
    "unwanted word": Mistake("export pets", ("pets",)),
    "dataset": Mistake("train --dataset digit", ("digit", "Did you mean 'digits'?")),
    "task": Mistake(f"predict {IMAGE} --adapters bird", ("'bird'", "Did you mean 'birds'?")),
    "no task named": Mistake("serve --adapters ''", ("--adapters",)),
    "only commas": Mistake(f"predict {IMAGE} --adapters ,", ("--adapters",)),
    "task twice": Mistake(f"predict {IMAGE} --adapters birds,birds", ("twice",)),
    "trained, not in the bundle": Mistake(
        "serve --adapters trees", ("trees", "atd add adapters/trees"), prepare=_trained_but_not_added
    ),
    "engine": Mistake(f"predict {IMAGE} --engine onnxruntme", ("--engine: ", "Did you mean 'onnxruntime'?")),
    "device of predict": Mistake(f"predict {IMAGE} --device gpu", ("device 'gpu'", "cuda:N")),
    "device of export": Mistake("export --device cuda:x --out new", ("device 'cuda:x'", "cpu", "cuda")),
    "device that is absent": Mistake("export --device cuda --out new", ("CUDA", "[gpu]"), 1),
    "computed in": Mistake(f"predict {IMAGE} --precision fp8", ("--precision", "'fp8'", "bf16")),
    "setting": Mistake(f"predict {IMAGE} -E prvider=cpu", ("-E prvider", "Did you mean 'provider'?")),
    "value of a setting": Mistake(f"predict {IMAGE} -E provider=gpu", ("-E provider=gpu: expected auto, cpu",)),
    "setting without a value": Mistake(f"predict {IMAGE} -E provider", ("-E provider: expected NAME=VALUE",)),
    # wrong places
    "adapters as a dataset": Mistake("train --dataset adapters", ("--dataset adapters", "trained adapters")),
    "an adapter as a dataset": Mistake("train --dataset adapters/birds", ("adapters/birds", "trained adapter")),
    "a bundle as a dataset": Mistake("train --dataset bundle", ("--dataset bundle", "a bundle")),
    "a name with a space": Mistake("train --dataset 'my pets'", ("my pets", "--task"), prepare=_my_pets),
    "nowhere": Mistake("train --dataset nowhere/at/all", ("nowhere/at/all",)),
    "a folder of adapters": Mistake("add adapters", ("adapters", "adapters/birds")),
    "a bundle as an adapter": Mistake("add bundle", ("is a bundle", "adapters/birds")),
    "no such adapter": Mistake("add adapters/boats", ("adapters/boats", "no such"), 1),
    "no adapter to evaluate": Mistake("evaluate --adapter boats", ("boats",), 1),
    "no adapter to export": Mistake("export --adapters bird --out new", ("'bird'", "Did you mean 'birds'?")),
    "nothing to export": Mistake("export --adapters-dir images --out new", ("images", "atd train")),
    "no bundle": Mistake(f"predict {IMAGE} --bundle nowhere", ("nowhere", "atd export"), 1),
    "no image": Mistake("predict nothing.jpg", ("nothing.jpg",)),
    "a folder as an image": Mistake("predict images", ("images",)),
    "two places that are one": Mistake(
        "serve --port 8005 --admin localhost:8005", ("--port 8005", "--admin localhost:8005")
    ),
    "no address": Mistake("serve --host 256.0.0.1", ("256.0.0.1",)),
    "out is a file": Mistake("train --dataset digits --out images/0.png", ("--out", "images/0.png")),
    "export into a file": Mistake("export --out images/0.png", ("--out", "images/0.png")),
    "export over something else": Mistake("export --out images", ("images", "--out"), 1),
}

# ONNX Runtime itself has to say which providers it was built with.
BY_THE_ENGINE = ("device that is absent",)
MISTAKES = {name: replace(mistake, arrays=name in BY_THE_ENGINE) for name, mistake in MISTAKES.items()}


@pytest.mark.parametrize("name", MISTAKES)
def test_it_is_refused(name: str, outcomes: dict[str, Future[None]]) -> None:
    outcomes[name].result()


def test_a_port_in_use(golden: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        play(Mistake(f"serve --port {port}", ("127.0.0.1", str(port)), arrays=False), golden)


BACKBONES = {
    "misspelt": Mistake(
        "train --dataset digits --backbone deit_tny", ("deit_tny", "Did you mean 'deit_tiny"), 1, notes=True
    ),
    "no Vision Transformer": Mistake(
        "train --dataset digits --backbone resnet50",
        ("resnet50", "Vision Transformer"),
        1,
        never=("--weights",),
        notes=True,
    ),
}


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_that_timm_does_not_have_or_that_is_none(name: str, golden: Path) -> None:
    play(BACKBONES[name], golden, torch=True)
