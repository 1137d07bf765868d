"""Every measured number in the README is the one in the results file that a benchmark wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks import documents
from benchmarks.inference import page as inference_page
from benchmarks.training.accuracy import WANTED
from benchmarks.training.accuracy_page import count_runs, page
from benchmarks.training.runs import counted

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def results(name: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(documents.results(name).read_text())
    return facts


def test_accuracy_is_quoted_from_its_results_or_said_to_be_missing() -> None:
    if not documents.results("accuracy").exists():
        assert "It was not run yet for this recipe." in README
        return
    runs = results("accuracy")["runs"]
    assert documents.page("accuracy").read_text() == page(runs, WANTED)
    said = count_runs(runs, WANTED)
    assert said in README or len(runs) == len(WANTED), said
    for run in runs:
        if run["seed"] == 0:
            assert f"| {counted(run['head'])} | {counted(run['adapter'])} |" in README


def test_sizes_by_arithmetic() -> None:
    width, depth, rank, classes = 192, 12, 8, 37
    frozen, trained = 5_524_416, depth * (2 * width * rank + rank + width) + classes * (width + 1)
    backbone, task = 4 * frozen, 4 * trained
    said = " ".join(README.split())
    assert f"{frozen:,} frozen float32 numbers are {backbone / 1e6:.1f} MB" in said
    assert f"the {trained:,} of the pets task {task / 1e6:.2f} MB" in said
    assert f"take {(backbone + 100 * task) / 1e6:.1f} MB with one backbone" in said
    assert f"{100 * (backbone + task) / 1e9:.1f} GB as merged graphs" in said


def test_inference() -> None:
    facts = results("infer")
    for result in facts["results"]:
        if result["graph"] == "plain":
            continue
        spread = result["to_plain" if result["graph"] == "merged" else "to_merged"]
        cell = f"{spread['median']:.3f} [{spread['low']:.3f}, {spread['high']:.3f}]"
        assert cell in README, (result["model"], result["batch"], result["graph"], cell)
    for model in facts["settings"]["models"]:
        for batch in facts["settings"]["batches"]:
            cells = [
                f"{result['milliseconds']['median']:.1f}"
                for graph in ("plain", "merged", "shared")
                for result in facts["results"]
                if (result["model"], result["batch"], result["graph"]) == (model, batch, graph)
            ]
            assert f"| {model} | {batch} | {' | '.join(cells)} |" in README


def test_a_missed_target_is_said_on_the_first_page_too() -> None:
    missed = inference_page.PAGE.read_text().count("**missed**")
    number = ("No target was", "One target was", "Two targets were", "Three targets were", "Four targets were")[missed]
    assert f"{number} missed" in " ".join(README.split())


def test_the_inference_page_is_made_from_the_results() -> None:
    assert inference_page.PAGE.read_text() == inference_page.page(
        results("infer"), documents.read("bank"), documents.read("export")
    )


def test_a_server() -> None:
    facts, swaps, said = results("serve"), results("swaps"), " ".join(README.split())
    tiny, small = (facts["capacity"][name] for name in ("deit_tiny_patch16_224", "vit_small_patch16_224"))
    assert f"{tiny['server_per_s']['median']:.1f} images/s with DeiT-Tiny, {tiny['to_budget']['median']:.2f} of" in said
    assert f"{small['server_per_s']['median']:.1f} with ViT-S, {small['to_budget']['median']:.2f}." in said
    ours, theirs = (facts["triton"]["servers"][name] for name in ("atd", "triton"))
    for server, words in (
        (ours, "{:.1f} images/s, {:.0f} MB and a p99 of {:.0f} ms"),
        (theirs, "{:.1f}, {:.0f} MB and {:.0f} ms"),
    ):
        values = server["images_per_s"]["median"], server["memory_mb"], server["half_p99_ms"]["median"]
        assert words.format(*values) in said
    assert f"A task is replaced in {swaps['swap_ms']['p50']:.1f} ms" in said


def test_footprint() -> None:
    facts = results("footprint")
    memory, times = facts["memory"], facts["times"]
    assert f"{memory['after_requests_mb']:.0f} MB" in README
    assert memory["after_requests_mb"] < 300
    assert f"{times['add_command_s']:.1f} s" in README
    assert times["add_command_s"] < 1
    assert times["help_s"] < 0.5


def test_swaps() -> None:
    facts = results("swaps")
    said = " ".join((ROOT / "docs" / "swapping.md").read_text().split())
    assert f"{facts['tasks']} tasks of rank {facts['rank']} on DeiT-Tiny {facts['swap_ms']['count']} times" in said
    assert facts["machine"]["processor"].split("(R)")[0] in said
    for what in ("swap_ms", "swap_beside_requests_ms", "request_ms", "request_beside_swaps_ms"):
        assert f"{facts[what]['p50']:.1f} ms (p99 {facts[what]['p99']:.1f})" in said


def test_memory_of_many_tasks() -> None:
    found = results("serve")["many_tasks"]
    said = " ".join((ROOT / "docs" / "swapping.md").read_text().split())
    one, many, few = (f"{found[name]['median']:.1f} MB" for name in ("one_mb", "many_mb", "in_slots_mb"))
    tasks, ratio = found["tasks"][1], f"{found['ratio']['median']:.2f} times as much"
    assert f"four clients ask for {tasks} tasks holds {many}, one of one task {one}, {ratio}" in said
    assert f"one of {tasks} tasks in {found['slots']} slots {few}" in said


def test_the_machine_is_named() -> None:
    machine = results("infer")["machine"]
    assert f"{machine['cores']} cores" in README
    assert machine["processor"].split(" avx")[0].removesuffix(" Processor") in " ".join(README.split())
