"""The page docs/results/precision.md, made from the results of benchmarks.precision.measure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from adaptertune_deploy.core.significance import p_words, wilson

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "precision.json"
PAGE = ROOT / "docs" / "results" / "precision.md"
Facts = Mapping[str, Any]

HEAD = """# Precisions: what they cost in answers, and what they take

Written by `make bench-precision` from `benchmarks/results/precision.json`; do not edit.
"""
ANSWERS = """## Answers

DeiT-Tiny with adapters of rank {rank} in every block, trained on the 1,020 training images of Flowers-102 and asked
about {images:,} of its validation images, which nothing was trained or calibrated on; 8 images a run. Differences are
of logits, the cosine is the smallest of any image, both against ONNX Runtime's fp32 graph of the same form, whose own
difference from torch every export measures. "Same" counts images with the same first class as there, "compared" the
images that only one of the two gets right, with an exact McNemar test.
"""
TIMING = """## Times

{rounds} rounds in {openings} openings, {clock} time, {tasks} tasks of rank {rank} mixed in the rows of the shared form.
Medians with quartiles; ratios are to ONNX Runtime's merged fp32 graph of the same model and batch, round by round.
"""
NOT_TIMED = "## Times\n\n**Not run yet**: `make bench-precision-timing`, on a quiet machine.\n"
SAME, POINTS = 0.98, 0.5  # of OpenVINO in int8: share of answers that stay, accuracy lost at most
INT8_QDQ = "openvino int8-qdq"
# (graph, model or "", batch or 0 for any) -> the ratio that is wanted
WANTED = {
    ("shared, openvino bf16", "", 8): 0.48,
    ("shared, openvino bf16", "vit_small_patch16_224", 1): 0.55,
    ("shared, openvino int8-qdq", "", 0): 0.40,
    ("shared, openvino int8-qdq, rest bf16", "", 0): 0.40,
    ("shared, onnxruntime int8", "", 0): 0.55,
}


def page(results: Facts) -> str:
    """Return the page as Markdown; what was not measured is said."""
    lines = [HEAD]
    if results.get("answers", {}).get("rows"):
        lines += _answers(results["answers"])
    timing = results.get("timing")
    lines += _timing(timing) if timing else [NOT_TIMED]
    measured = [part for part in ("answers", "timing") if part in results]
    machines = [f"- {part}: {_machine(results[part]['machine'])}" for part in measured]
    return "\n".join([*lines, "## Machines\n", *machines, ""])


def _answers(answers: Facts) -> Iterator[str]:
    rows = answers["rows"]
    first = next(iter(rows.values()))
    yield ANSWERS.format(rank=answers["rank"], images=first["images"])
    columns = ("graph", "MB", "max", "mean", "cosine", "same", "right", "compared")
    yield f"| {' | '.join(columns)} |"
    yield f"|---|{'---:|' * (len(columns) - 1)}"
    for name, row in rows.items():
        low, high = wilson(row["right"], row["images"])
        same = f"{row['same']:,} = {100 * row['same'] / row['images']:.1f} %"
        accuracy = f"{100 * row['right'] / row['images']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
        cells = [
            name,
            f"{row['megabytes']:.1f}",
            f"{row['max']:.2g}",
            f"{row['mean']:.2g}",
            f"{row['cosine']:.5f}",
            same,
            f"{row['right']:,} = {accuracy}",
            f"{row['better']} better, {row['worse']} worse, {p_words(row['p'])}",
        ]
        yield f"| {' | '.join(cells)} |"
    yield ""
    for name, row in rows.items():
        if INT8_QDQ in name:
            yield _judged_answers(name, row)
    yield ""


def _judged_answers(name: str, row: Facts) -> str:
    share = row["same"] / row["images"]
    points = 100 * (row["better"] - row["worse"]) / row["images"]
    kept = "" if share >= SAME else ", **missed**"
    near = "" if abs(points) <= POINTS else ", **missed**"
    return (
        f"- {name}: the same class on {100 * share:.1f} % of the images, wanted {100 * SAME:.0f} %{kept}; "
        f"{points:+.2f} points of accuracy, wanted within {POINTS}{near}."
    )


def _timing(timing: Facts) -> Iterator[str]:
    yield TIMING.format(**timing["settings"])
    for key, rows in timing["rows"].items():
        model, batch = key.rsplit(", ", 1)
        yield f"### {model}, batch {batch}\n"
        yield "| graph | ms | ratio | at most |\n|---|---:|---:|---:|"
        for name, row in rows.items():
            ratio = row["ratio"]
            limit = wanted(name, model, int(batch))
            judged = "" if limit is None else f"{limit:g}" + ("" if ratio["median"] <= limit else ", **missed**")
            spread = f"{ratio['median']:.3f} [{ratio['low']:.3f}, {ratio['high']:.3f}]"
            yield f"| {name} | {row['milliseconds']['median']:.1f} | {spread} | {judged} |"
        yield ""


def wanted(name: str, model: str, batch: int) -> float | None:
    """Return the ratio that a graph of a model may take at a batch size; None where nothing is promised."""
    for (graph, of, size), limit in WANTED.items():
        if graph == name and of in ("", model) and size in (0, batch):
            return limit
    return None


def _machine(machine: Facts) -> str:
    versions = machine["versions"]
    said = ", ".join(f"{library} {version}" for library, version in dict(versions).items())
    return f"{machine['cores']} cores of {machine['processor']}, {machine['memory_gb']} GB; {said}"
