"""Adapter folders that were edited, damaged or never finished: `atd add` refuses them and the bundle stays."""

from __future__ import annotations

import os
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from tests.flow.playing import Mistake
from tests.flow.surgery import in_config

BIRDS = "add adapters/birds"


def _pipe(name: str) -> Any:
    def prepare(folder: Path) -> None:
        path = folder / "adapters" / "birds" / name
        path.unlink()
        os.mkfifo(path)

    return prepare


def _absent(name: str) -> Any:
    return lambda folder: (folder / "adapters" / "birds" / name).unlink()


def _damaged(folder: Path) -> None:
    path = folder / "adapters" / "birds" / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")


def _other_tensors(folder: Path) -> None:
    (folder / "adapters" / "birds" / "adapter_model.safetensors").write_bytes(
        (folder / "adapters" / "cars" / "adapter_model.safetensors").read_bytes()
    )


def _task(**values: Any) -> Any:
    return in_config("birds", lambda document: document["task"].update(values))


def _adapter(**values: Any) -> Any:
    return in_config("birds", lambda document: document["task"]["adapter"].update(values))


def _preprocess(**values: Any) -> Any:
    return in_config("birds", lambda document: document["preprocess"].update(values))


def _swap(document: dict[str, Any]) -> None:
    task, probe = document["task"], document["probe"]
    task["temperature"], probe["temperature"] = probe["temperature"], task["temperature"]


MISTAKES = {
    "one label edited": Mistake(
        BIRDS, ("adapter_config.json", "labels"), 1, _task(labels=["banana", "birds 1", "birds 2"])
    ),
    "labels reversed": Mistake(
        BIRDS, ("adapter_config.json", "labels"), 1, _task(labels=["birds 2", "birds 1", "birds 0"])
    ),
    "alpha edited": Mistake(BIRDS, ("adapter_config.json", "alpha"), 1, _adapter(alpha=50.0)),
    "temperatures exchanged": Mistake(
        BIRDS,
        ("adapter_config.json", "temperature"),
        1,
        in_config("birds", _swap),
    ),
    "another candidate said to ship": Mistake(
        BIRDS,
        ("adapter_config.json", "what ships"),
        1,
        in_config("birds", lambda document: document.update(ships="head")),
    ),
    "a candidate that there is not": Mistake(
        BIRDS, ("ships 'probe'",), 1, in_config("birds", lambda document: document.update(ships="probe"))
    ),
    "a folder of the version before": Mistake(
        BIRDS,
        ("adapter_config.json: format_version is 2", "train the task again with: atd train"),
        1,
        in_config("birds", lambda document: document.update(format_version=2)),
    ),
    "a mistyped candidate": Mistake(BIRDS + " --ship adaptr", ("--ship", "Did you mean 'adapter'?")),
    "blocks edited": Mistake(BIRDS, ("adapter_config.json", "blocks"), 1, _adapter(blocks=[0, 1])),
    "mean edited": Mistake(BIRDS, ("adapter_config.json", "preprocessing"), 1, _preprocess(mean=[0.5, 0.5, 0.5])),
    "backbone edited": Mistake(
        BIRDS,
        ("backbone",),
        1,
        in_config("birds", lambda document: document["backbone"].update(sha256="1" * 64)),
    ),
    "alpha beyond float32": Mistake(BIRDS, ("alpha",), 1, _adapter(alpha=1e39)),
    "mean beyond float32": Mistake(BIRDS, ("mean",), 1, _preprocess(mean=[1e300, 0.5, 0.5])),
    "std of zero": Mistake(BIRDS, ("std",), 1, _preprocess(std=[0.0, 0.5, 0.5])),
    "size of 2^40": Mistake(BIRDS, ("size",), 1, _preprocess(size=[1 << 40, 1 << 40])),
    "labels that command the terminal": Mistake(
        BIRDS, ("adapter_config.json",), 1, _task(labels=["\x1b[2J", "birds 1", "a\nb"])
    ),
    "version from elsewhere": Mistake(
        BIRDS,
        ("adapter_config.json", "version"),
        1,
        in_config("birds", lambda document: document.update(format_version=99)),
    ),
    "unknown field": Mistake(
        BIRDS, ("adapter_config.json", "extra"), 1, in_config("birds", lambda document: document.update(extra=1))
    ),
    "tensors damaged": Mistake(BIRDS, ("adapter_model.safetensors", "sha256"), 1, _damaged),
    "another task's tensors": Mistake(BIRDS, ("adapter_model.safetensors",), 1, _other_tensors),
    "tensors absent": Mistake(
        BIRDS, ("adapter_model.safetensors", "no such file"), 1, _absent("adapter_model.safetensors")
    ),
    "config absent": Mistake(
        BIRDS, ("adapters/birds", "adapter_config.json", "adapters/cars"), 1, _absent("adapter_config.json")
    ),
    "a pipe as the tensors": Mistake(
        BIRDS, ("adapter_model.safetensors", "pipe"), 1, _pipe("adapter_model.safetensors")
    ),
    "a pipe as the config": Mistake(BIRDS, ("adapter_config.json", "pipe"), 1, _pipe("adapter_config.json")),
    "export of an edited adapter": Mistake(
        "export --adapters birds --out new", ("adapter_config.json", "labels"), 1, _task(labels=["banana", "b", "c"])
    ),
    "evaluation of an edited adapter": Mistake(
        "evaluate --adapter birds", ("adapter_config.json", "labels"), 1, _task(labels=["banana", "b", "c"])
    ),
}


@pytest.mark.case("E7", "edits of adapter folders", "one line, exit code 1, the disk as it was")
@pytest.mark.parametrize("name", MISTAKES)
def test_it_is_refused(name: str, outcomes: dict[str, Future[None]]) -> None:
    outcomes[name].result()
