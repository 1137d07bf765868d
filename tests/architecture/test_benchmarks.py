"""Rooms of benchmarks: each measures one thing, and may use what the table says."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
MODULES = sorted(BENCHMARKS.glob("*/*.py"))

# room -> rooms that it may import from; what lies beside the rooms is for all
ALLOWED: dict[str, set[str]] = {
    "clients": set(),
    "families": set(),
    "gpu": {"inference"},
    "inference": set(),
    "precision": {"inference"},
    "ranks": {"training"},
    "robustness": {"clients", "servers", "inference"},
    "servers": {"clients"},
    "serving": {"clients", "servers", "inference"},
    "training": set(),
}


def rooms_of(module: Path) -> Iterator[str]:
    """Yield the rooms that a module imports from."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "benchmarks":
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            yield from (place[1] for place in (str(name).split(".") for name in names) if place[1:2])


def test_every_room_is_in_the_table() -> None:
    assert {module.parent.name for module in MODULES} == set(ALLOWED)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(BENCHMARKS)))
def test_a_room_imports_only_what_it_may(module: Path) -> None:
    beside = {path.stem for path in BENCHMARKS.glob("*.py")}
    room = module.parent.name
    assert set(rooms_of(module)) <= beside | {room} | ALLOWED[room]


def test_rooms_form_no_circle() -> None:
    left = {room: set(uses) for room, uses in ALLOWED.items()}
    while left:
        free = {room for room, uses in left.items() if not uses & left.keys()}
        assert free, f"a circle among {sorted(left)}"
        left = {room: uses for room, uses in left.items() if room not in free}
