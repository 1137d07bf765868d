"""benchmarks.ranks.methods_page: rows of three benchmarks in one table, adapters beside full fine-tuning."""

from __future__ import annotations

from typing import Any

from benchmarks.ranks.methods_page import page


def make_run(dataset: str, way: str, right: int = 60, parameters: int = 1_000) -> dict[str, Any]:
    """Return what matters here of what a run prints."""
    measure = {"right": right, "top1": right / 80, "top1_interval": [0.65, 0.83], "parameters": parameters}
    machine = {"cores": 2, "processor": "a processor", "memory_gb": 8, "versions": {"torch": "2.10.0"}}
    trained = "full" if way == "full" else "adapter"
    return {
        "dataset": dataset,
        "seed": 0,
        "way": way,
        "asked": way,
        "ships": trained,
        "head": measure | {"right": 40, "top1": 0.5},
        "adapter": None,
        "full": None,
        trained: measure,
        "rank": {"rank": 4} if way == "auto" else None,
        "seconds": 120.0,
        "threads": 1,
        "recipe": {"precision": "bf16"},
        "machine": machine,
    }


def test_a_row_says_what_was_trained_and_what_ships() -> None:
    text = page([make_run("pets", way) for way in ("8", "last", "auto", "full")], ["pets"])
    for row in (
        "| pets | `--placement last:4 --views 3` | 8 |",
        "| pets | `--rank 8` | 8 | 40 = 50.0 % [65.0, 83.0] | 60 = 75.0 % [65.0, 83.0] | adapter | 60 = 75.0 %",
        "| pets | `--rank auto` | 4 |",
        "| pets | `--method full` |  |",
    ):
        assert row in text
    assert "Not run" not in text


def test_adapters_are_compared_with_full_fine_tuning() -> None:
    runs = [make_run("pets", "8", 60, 10), make_run("pets", "full", 62, 1_000), make_run("flowers", "8")]
    text = page(runs, ["pets", "flowers"])
    assert "- pets: adapters of rank 8 lie -2.5 points from full fine-tuning, with 1.0 % of its parameters." in text
    assert "- flowers" not in text
    text = page([make_run("pets", "8", 60), make_run("pets", "last", 61)], ["pets"])
    assert (
        "- pets: adapters after the last four blocks alone, in fixed views, lie +1.2 points from those after all."
        in text
    )


def test_what_is_missing_is_named() -> None:
    text = page([make_run("pets", "full")], ["pets", "flowers"])
    assert (
        "**Not run yet**: pets with `--rank 8`, pets with `--placement last:4 --views 3`, pets with `--rank auto`"
        in text
    )


def test_a_search_that_ends_at_rank_zero_has_no_adapter() -> None:
    run = make_run("pets", "auto") | {"ships": "head", "adapter": None, "rank": {"rank": 0}}
    assert "| pets | `--rank auto` | 0 | 40 = 50.0 % [65.0, 83.0] |  | head | 40 = 50.0 %" in page([run], ["pets"])


def test_a_run_from_before_there_were_searches_is_one_of_a_given_rank() -> None:
    run = make_run("pets", "8")
    del run["rank"]
    assert "| pets | `--rank 8` | 8 |" in page([run], ["pets"])
