"""benchmarks.families.parity: parity of small forms of many families, and what the command keeps and writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from benchmarks.families import parity
from benchmarks.families.page import page
from benchmarks.families.table import FAMILIES, REFUSED, Family

CREATE = timm.create_model


@pytest.fixture(autouse=True)
def _one_thread_of_torch() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def shallow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let timm build every architecture with two blocks."""
    monkeypatch.setattr(timm, "create_model", lambda *args, **given: CREATE(*args, **{"depth": 2, **given}))


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize(
    ("name", "size", "pool"),
    [
        ("test_vit3", 96, "map"),
        ("deit_tiny_distilled_patch16_224", 96, "token"),  # averages two tokens
        ("cait_xxs24_224", 224, "token"),  # the class token joins after the adapted blocks
        ("convit_tiny", 224, "token"),  # counts its rows after the first adapted block
    ],
)
def test_both_forms_of_a_small_network_agree_with_torch(name: str, size: int, pool: str) -> None:
    found = parity.measure(parity.load(Family("", name, (size,)), size, None))
    assert (found.size, found.pool) == ((size, size), pool)
    assert 0 < found.shared <= parity.LIMIT
    assert 0 < found.merged <= parity.LIMIT


@pytest.mark.slow
@pytest.mark.parametrize(("family", "size"), [(family, size) for family in FAMILIES for size in family.sizes])
def test_every_family_agrees_with_torch(family: Family, size: int) -> None:
    found = parity.in_a_process(family.timm, size, None)
    assert max(found["shared"], found["merged"]) <= parity.LIMIT, found


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_work_is_refused_by_name(name: str) -> None:
    said = parity.run_one(name, None, None)["refused"]
    assert said.startswith(f"'{name}.")
    assert "Vision Transformer" in said
    assert "\n" not in said


def test_drawn_weights_make_every_layer_matter() -> None:
    with torch.random.fork_rng(devices=[]):
        module: Any = CREATE("deit3_small_patch16_224", num_classes=0, depth=1, embed_dim=12, num_heads=2)
    parity.draw_weights(module)
    block = module.blocks[0]
    assert 0.2 < block.ls1.gamma.std() < 0.9
    assert abs(block.norm1.weight.mean() - 1) < 0.2
    assert 0.5 < block.mlp.fc1.weight.std() * 12**0.5 < 1.5
    assert all(value.std() > 0.01 for value in module.parameters())


def facts(**changes: Any) -> dict[str, Any]:
    good = {"size": [96, 96], "pool": "token", "shared": 1e-6, "merged": 2e-6, "seconds": 3.0, "merge_seconds": 0.1,
            "megabytes": 1.2, "peak_megabytes": 900.0}  # fmt: skip
    return {**good, **changes}


def test_the_command_goes_on_where_it_was_and_writes_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int | None]] = []

    def measured(name: str, size: int | None, weights: Path | None) -> dict[str, Any]:
        asked.append((name, size))
        if size is None:
            return {"refused": f"'{name}' is not a Vision Transformer"}
        return facts(shared=1.0) if size == 96 else facts()

    monkeypatch.setattr(parity, "in_a_process", measured)
    given = [
        "--json",
        str(tmp_path / "new" / "f.json"),
        "--page",
        str(tmp_path / "docs" / "f.md"),
        "--only",
        "test_vit",
    ]
    parity.main(given)
    parity.main([*given, "--only", "resnet18"])
    assert asked == [("test_vit", 160), ("test_vit", 96), ("resnet18", None)]
    rows = json.loads((tmp_path / "new" / "f.json").read_text())
    assert [(row["timm"], row["asked"], row["real"]) for row in rows] == [
        ("test_vit", 160, False), ("test_vit", 96, False), ("resnet18", None, False)
    ]  # fmt: skip
    text = (tmp_path / "docs" / "f.md").read_text()
    assert "| timm's test ViT | test_vit | token | 96 | 1.0e+00 | 2.0e-06 | 3.0 | 1.2 | 900 |" in text
    assert "| resnet18 | 'resnet18' is not a Vision Transformer |" in text
    assert "1 of 2 rows lie within 2e-05 of torch; test_vit at 96 does not." in text
    parity.main([*given, "--fresh"])
    assert asked[3:] == [("test_vit", 160), ("test_vit", 96)]


def test_a_family_that_failed_shows_why() -> None:
    machine = {"cores": 1, "processor": "x", "memory_gb": 1, "versions": {"torch": "2"}}
    row = {"timm": "test_vit", "asked": 96, "real": False, "machine": machine, "failed": "killed"}
    text = page([row], 1e-5)
    assert "| timm's test ViT | test_vit |  | 96 | killed |" in text
    assert "0 of 1 rows lie within 1e-05 of torch; test_vit at 96 does not." in text


def test_a_process_that_dies_is_a_row_not_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity.sys, "executable", "/bin/false")
    assert parity.in_a_process("test_vit", 96, None) == {"failed": "no word"}
