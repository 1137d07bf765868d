"""benchmarks.ranks.auto_page: times are compared with the run of the same dataset whose rank was given."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.ranks.auto_page import multiple, page


def make_run(dataset: str, asked: str, seconds: float = 120.0, rank: int = 4) -> dict[str, Any]:
    """Return what matters here of what a run prints."""
    measure = {"right": 60, "top1": 0.75, "top1_interval": [0.65, 0.83], "loss": 0.5}
    choice = {"rank": rank, "tried": [{"rank": 0}, {"rank": 8}, {"rank": 32}, {"rank": 4}], "alike": [rank, 8]}
    machine = {"cores": 2, "processor": "a processor", "memory_gb": 8, "versions": {"torch": "2.10.0"}}
    return {
        "dataset": dataset,
        "asked": asked,
        "train_images": 1_200,
        "ships": "adapter",
        "adapter": measure,
        "rank": None if asked == "8" else choice,
        "processor_s": seconds,
        "threads": 2,
        "recipe": {"precision": "fp32"},
        "machine": machine,
    }


WANTED = [("pets", rank) for rank in ("8", "auto", "auto:fast")]


def test_a_search_is_told_in_runs_with_a_given_rank() -> None:
    text = page([make_run("pets", "8", 100.0), make_run("pets", "auto", 230.0)], WANTED)
    assert (
        "| pets | auto | 1,200 | 0, 8, 32, 4 | 4 | 4, 8 | adapter | 60 = 75.0 % [65.0, 83.0] | 0.500 | 3.8 min | 2.30 |"
        in text
    )
    assert "| pets | 8 | 1,200 |  | 8 |  | adapter |" in text
    assert "- `--rank auto` takes 2.30 times a run with a given rank." in text
    assert "**Not run yet**: pets with auto:fast." in text
    assert "Measured on 2 cores of a processor, 8 GB, torch 2.10.0, fp32, 2 threads a training." in text


def test_a_search_that_ships_the_head_has_trained_nothing_to_tell_of() -> None:
    found = {**make_run("pets", "auto", 230.0, rank=0), "adapter": None, "recipe": None, "ships": "head"}
    found["head"] = make_run("pets", "8")["adapter"]
    text = page([make_run("pets", "8", 100.0), found], WANTED)
    assert "Measured on 2 cores of a processor, 8 GB, torch 2.10.0, fp32, 2 threads a training." in text
    assert "Measured on 2 cores of a processor, 8 GB, torch 2.10.0, 2 threads a training." in page([found], WANTED)
    twice = page(
        [make_run("pets", "8", 100.0), make_run("flowers", "8", 100.0), found, make_run("flowers", "auto")], WANTED
    )
    assert "- `--rank auto` takes 1.20 to 2.30 times a run with a given rank." in twice


def test_nothing_is_compared_with_another_dataset() -> None:
    text = page([make_run("pets", "8", 100.0), make_run("flowers", "auto", 230.0)], WANTED)
    assert "times a run with a given rank" not in text
    assert multiple(make_run("flowers", "auto"), None) is None
    elsewhere = {**make_run("pets", "8"), "machine": {"processor": "another"}}
    assert multiple(make_run("pets", "auto"), elsewhere) is None
    assert multiple(make_run("pets", "auto", 50.0), make_run("pets", "8", 100.0)) == pytest.approx(0.5)


def test_a_page_of_nothing_says_what_is_missing() -> None:
    text = page([], WANTED)
    assert "**Not run yet**: pets with 8, pets with auto, pets with auto:fast." in text
    assert "Measured on" not in text
