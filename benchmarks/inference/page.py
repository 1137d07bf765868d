"""The page docs/results/inference.md, made from the results of benchmarks.inference.cpu, .bank and .export_cost.

python -m benchmarks.inference.page
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from benchmarks import documents
from benchmarks.documents import Facts
from benchmarks.wording import at_most, heading, machine, row, spread

PAGE = documents.page("inference")

HEAD = """# Inference: time, memory and what tasks share

Written by `make bench-infer` and `make bench-export` from `benchmarks/results/`; do not edit.

ONNX Runtime's CPU provider. "plain" is the timm model with a head as `torch.onnx.export` writes it, without adapters;
"merged" and "shared" have one of rank 8 after every block, and the shared graph's rows mix three tasks, heads included.
All run on the product's own engine in one process, interleaved, in an order drawn anew each round; ratios are taken
round by round. Numbers are medians with quartiles in brackets. Weights are random: speed does not depend on them.
"""
# (graph, batch) -> what its ratio to plain may be at most; batch -> what shared to merged may be
TO_PLAIN = {("merged", 1): 0.92, ("merged", 8): 0.87, ("shared", 1): 0.95, ("shared", 8): 0.88}
TO_MERGED = {1: 1.03, 8: 1.02}
TO_PASSES = {"deit_tiny_patch16_224": 0.30, "vit_small_patch16_224": 0.32}
LARGE_AMONG_SMALL, REPLACE_MS, MEMORY, SESSIONS = 1.01, 1.0, 1.2, 1 / 20
ADD_MS, EXPORT_S, EXPORT_MB = 100.0, 60.0, 3000.0


def page(infer: Facts, bank: Facts | None, export: Facts | None) -> str:
    """Return the page as Markdown; what was not measured is left out."""
    lines = [HEAD, *_forms(infer), *_sharing(infer)]
    if bank is not None:
        lines += _bank(bank)
    if export is not None:
        lines += _export(export)
    return "\n".join([*lines, *_machines({"infer": infer, "bank": bank, "export": export}), ""])


def _forms(infer: Facts) -> Iterator[str]:
    settings = infer["settings"]
    yield "## One run\n"
    yield f"{settings['rounds']} rounds in {settings['openings']} openings, {settings.get('clock', 'wall')} time.\n"
    yield heading("model, batch, graph", "ms", "images/s", "to plain", "at most", "to merged", "at most")
    for entry in infer["results"]:
        batch, graph, median = entry["batch"], entry["graph"], entry["milliseconds"]["median"]
        cells = ["", "", "", ""]
        if (graph, batch) in TO_PLAIN:
            ratio = entry["to_plain"]
            cells[:2] = spread(ratio, 3), at_most(ratio["median"], TO_PLAIN[graph, batch])
        if graph == "shared" and batch in TO_MERGED:
            ratio = entry["to_merged"]
            cells[2:] = spread(ratio, 3), at_most(ratio["median"], TO_MERGED[batch])
        rate = f"{1e3 * batch / median:.1f}"
        yield row(f"{entry['model']}, {batch}, {graph}", f"{median:.1f}", rate, *cells)
    yield ""


def _sharing(infer: Facts) -> Iterator[str]:
    if "one_image_five_tasks" not in infer:
        return
    yield "## One image, five tasks\n"
    yield "Five tasks that adapt the last four blocks ask about one image: the ratio is to five runs of plain.\n"
    yield heading("model", "ms", "to five passes", "at most")
    for entry in infer["one_image_five_tasks"]:
        ratio = entry["to_passes"]
        target = at_most(ratio["median"], TO_PASSES[entry["model"]]) if entry["model"] in TO_PASSES else ""
        yield row(entry["model"], f"{entry['milliseconds']['median']:.1f}", spread(ratio, 3), target)
    yield ""


def _bank(bank: Facts) -> Iterator[str]:
    memory, replace = bank["memory_mb"], bank["replace_ms"]
    name, *others = bank["cpu_time"]
    yield f"## Many tasks, {bank['model']}\n"
    yield f"Eight rows of random tasks, CPU time, to the same with {name}.\n"
    yield heading("bank", "ratio", "at most")
    for other in others:
        ratio = bank["cpu_time"][other]
        yield row(other, spread(ratio, 3), at_most(ratio["median"], LARGE_AMONG_SMALL))
    yield ""
    yield heading("what", "measured", "at most")
    yield row(
        f"replacing one of {memory['tasks']:,.0f} tasks",
        f"{spread(replace, 3)} ms",
        at_most(replace["median"], REPLACE_MS),
    )
    grown = memory["100_tasks"] / memory["one_task"]
    yield row(
        "memory of 100 tasks to that of one",
        f"{memory['100_tasks']:.0f} / {memory['one_task']:.0f} MB = {grown:.2f}",
        at_most(grown, MEMORY),
    )
    part = memory["100_tasks"] / memory["100_sessions_at_that_rate"]
    yield row(
        "memory of 100 tasks to that of 100 sessions",
        f"{memory['100_tasks']:.0f} / {memory['100_sessions_at_that_rate']:.0f} MB = {part:.3f}",
        at_most(part, SESSIONS),
    )
    more = memory["many_tasks_two_of_them_large"] - memory["many_tasks"]
    yield row("two large tasks among them", f"{more:.1f} MB more", f"{memory['the_large_ones_own']:.1f} MB, their own")
    yield f"\n100 sessions are extrapolated from {memory['sessions']:.0f}.\n"


def _export(export: Facts) -> Iterator[str]:
    add, made = export["add"], export["export"]
    yield "## Making a bundle\n"
    yield heading("what", "measured", "at most")
    taken = add["milliseconds"]
    yield row(
        f"one more task for {add['tasks']}, {add['model']}",
        f"{taken['median']:.1f} [{taken['low']:.1f}, {taken['high']:.1f}] ms",
        at_most(taken["median"], ADD_MS),
    )
    what = f"{made['model']}, shared and {made['merged']} merged, {made['graphs_mb']:,.0f} MB of graphs"
    yield row(f"{what}: time", f"{made['seconds']:.1f} s", at_most(made["seconds"], EXPORT_S))
    yield row(f"{what}: memory", f"{made['peak_mb']:,.0f} MB", at_most(made["peak_mb"], EXPORT_MB))
    yield ""


def _machines(parts: Mapping[str, Facts | None]) -> Iterator[str]:
    yield "## Machines\n"
    for name, facts in parts.items():
        if facts is not None:
            yield f"- {name}: {machine(facts['machine'])}"


def main() -> None:
    """Write the page from the results that are there."""
    infer = documents.read("infer")
    if infer is None:
        raise SystemExit(f"{documents.results('infer')} is not there; run make bench-infer")
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(infer, documents.read("bank"), documents.read("export")))
    print(f"page written to {PAGE}")


if __name__ == "__main__":
    main()
