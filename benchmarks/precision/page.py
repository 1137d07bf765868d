"""The page docs/results/precision.md, made from the results of benchmarks.precision.measure."""

from __future__ import annotations

from collections.abc import Iterator

from adaptertune_deploy.core.answers.significance import p_words, wilson
from benchmarks import documents
from benchmarks.documents import Facts
from benchmarks.wording import MISSED, at_most, heading, machine, row, spread

RESULTS, PAGE = documents.results("precision"), documents.page("precision")

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
BESIDE = 'That graph is faster than an ordinary export of the timm model without adapters; "to plain" is to that one.\n'
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
    machines = [f"- {part}: {machine(results[part]['machine'])}" for part in measured]
    return "\n".join([*lines, "## Machines\n", *machines, ""])


def _answers(answers: Facts) -> Iterator[str]:
    rows = answers["rows"]
    first = next(iter(rows.values()))
    yield ANSWERS.format(rank=answers["rank"], images=first["images"])
    columns = ("graph", "MB", "max", "mean", "cosine", "same", "right", "compared")
    yield heading(*columns)
    for name, found in rows.items():
        low, high = wilson(found["right"], found["images"])
        same = f"{found['same']:,} = {100 * found['same'] / found['images']:.1f} %"
        accuracy = f"{100 * found['right'] / found['images']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
        cells = [
            name,
            f"{found['megabytes']:.1f}",
            f"{found['max']:.2g}",
            f"{found['mean']:.2g}",
            f"{found['cosine']:.5f}",
            same,
            f"{found['right']:,} = {accuracy}",
            f"{found['better']} better, {found['worse']} worse, {p_words(found['p'])}",
        ]
        yield row(*cells)
    yield ""
    for name, found in rows.items():
        if INT8_QDQ in name:
            yield _judged_answers(name, found)
    yield ""


def _judged_answers(name: str, row: Facts) -> str:
    share = row["same"] / row["images"]
    points = 100 * (row["better"] - row["worse"]) / row["images"]
    kept = "" if share >= SAME else MISSED
    near = "" if abs(points) <= POINTS else MISSED
    return (
        f"- {name}: the same class on {100 * share:.1f} % of the images, wanted {100 * SAME:.0f} %{kept}; "
        f"{points:+.2f} points of accuracy, wanted within {POINTS}{near}."
    )


def _timing(timing: Facts) -> Iterator[str]:
    yield TIMING.format(**timing["settings"])
    plain = all("to_plain" in found for rows in timing["rows"].values() for found in rows.values())
    if plain:
        yield BESIDE
    for key, rows in timing["rows"].items():
        model, batch = key.rsplit(", ", 1)
        yield f"### {model}, batch {batch}\n"
        yield heading("graph", "ms", *(["to plain"] if plain else []), "ratio", "at most")
        for name, found in rows.items():
            ratio = found["ratio"]
            limit = wanted(name, model, int(batch))
            judged = "" if limit is None else at_most(ratio["median"], limit)
            beside = [spread(found["to_plain"], 3)] if plain else []
            yield row(name, f"{found['milliseconds']['median']:.1f}", *beside, spread(ratio, 3), judged)
        yield ""


def wanted(name: str, model: str, batch: int) -> float | None:
    """Return the ratio that a graph of a model may take at a batch size; None where nothing is promised."""
    for (graph, of, size), limit in WANTED.items():
        if graph == name and of in ("", model) and size in (0, batch):
            return limit
    return None
