"""The page docs/results/precision.md, made from the results of benchmarks.precision.measure: a section a machine."""

from __future__ import annotations

from collections.abc import Iterator

from adaptertune_deploy.core.answers.significance import p_words, wilson
from benchmarks import documents
from benchmarks.documents import Facts
from benchmarks.wording import MISSED, at_most, heading, machine, row, short, spread

RESULTS, PAGE = documents.results("precision"), documents.page("precision")

HEAD = """# Precisions: what they cost in answers, and what they take

Written by `make bench-precision` from `benchmarks/results/precision.json`; do not edit. A section a machine.

## Asked about

DeiT-Tiny with adapters of rank {rank} in every block, trained on the 1,020 training images of Flowers-102 and asked
about {images:,} of its validation images, which nothing was trained or calibrated on; 8 images a run. Differences are
of logits, the cosine is the smallest of any image, both against ONNX Runtime's fp32 graph of the same form, whose own
difference from torch every export measures. "Same" counts images with the same first class as there, "compared" the
images that only one of the two gets right, with an exact McNemar test.

## Timed

{rounds} rounds in {openings} openings, {clock} time, {tasks} tasks of rank {rank} mixed in the rows of the shared form.
Medians with quartiles; ratios are to ONNX Runtime's merged fp32 graph of the same model and batch, round by round.
That graph is faster than an ordinary export of the timm model without adapters; "to plain" is to that one.
"""
NOT_RUN = "**Not run yet**: `make bench-precision-{part}`{where}."
PARTS = {"answers": "", "timing": ", on a quiet machine"}
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
    """Return the page as Markdown; what was not measured is said.

    Args:
        results: processor -> what was measured on it, the parts "answers" and "timing", and under "before" the
            changes since then that no machine of that kind was there to measure.
    """
    lines = [_head(results), *_judged(results)]
    for processor, parts in results.items():
        lines.append(f"## {short(processor)}\n")
        lines += [f"- {part}: {machine(parts[part]['machine'])}" for part in PARTS if part in parts]
        lines += [f"- measured before: {change}" for change in parts.get("before", [])] + [""]
        for part, tell in (("answers", _answers), ("timing", _timing)):
            lines += tell(parts[part]) if part in parts else [NOT_RUN.format(part=part, where=PARTS[part]) + "\n"]
    return "\n".join(lines)


def _head(results: Facts) -> str:
    """Return how the latest of each part was measured."""
    found = [parts[part] for parts in results.values() for part in PARTS if part in parts]
    facts: dict[str, object] = {}
    for part in found:
        facts |= {"rank": part["rank"], **_asked(part)} if "rank" in part else part["settings"]
    return HEAD.format(**({"images": 0, "rounds": 0, "openings": 0, "clock": "no", "tasks": 0} | facts))


def _asked(answers: Facts) -> dict[str, object]:
    return {"images": next(iter(answers["rows"].values()))["images"]}


def _answers(answers: Facts) -> Iterator[str]:
    yield "### Answers\n"
    rows = answers["rows"]
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
    for key, rows in timing["rows"].items():
        model, batch = key.rsplit(", ", 1)
        yield f"### {model}, batch {batch}\n"
        yield heading("graph", "ms", "to plain", "ratio", "at most")
        for name, found in rows.items():
            ratio, taken = found["ratio"], f"{found['milliseconds']['median']:.1f}"
            limit = wanted(name, model, int(batch))
            judged = "" if limit is None else at_most(ratio["median"], limit)
            yield row(name, taken, spread(found["to_plain"], 3), spread(ratio, 3), judged)
        yield ""


def _judged(results: Facts) -> Iterator[str]:
    """Yield the table of what is wanted, a column a machine."""
    timed = {processor: parts["timing"]["rows"] for processor, parts in results.items() if "timing" in parts}
    cases = {
        (key, name): limit
        for rows in timed.values()
        for key, graphs in rows.items()
        for name in graphs
        if (limit := wanted(name, key.rsplit(", ", 1)[0], int(key.rsplit(", ", 1)[1]))) is not None
    }
    if not cases:
        return
    yield "## Times that were wanted\n"
    yield heading("model, batch", "graph", "at most", *map(short, timed), text=2)
    for (key, name), limit in cases.items():
        found = [rows.get(key, {}).get(name) for rows in timed.values()]
        yield row(key, name, f"{limit:g}", *(_met(each, limit) for each in found))
    yield ""


def _met(found: Facts | None, limit: float) -> str:
    if found is None:
        return ""
    ratio = found["ratio"]["median"]
    return f"{ratio:.3f}" if ratio <= limit else f"{ratio:.3f}{MISSED}"


def wanted(name: str, model: str, batch: int) -> float | None:
    """Return the ratio that a graph of a model may take at a batch size; None where nothing is promised."""
    for (graph, of, size), limit in WANTED.items():
        if graph == name and of in ("", model) and size in (0, batch):
            return limit
    return None
