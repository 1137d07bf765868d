"""The page docs/results/planted-rank.md, made from what benchmarks.ranks.planted and its neighbours found.

python -m benchmarks.ranks.planted_page
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks import documents
from benchmarks.documents import Facts
from benchmarks.wording import at_least, at_most, heading, machine, row

PAGE = documents.page("planted-rank")
NEAR, REGRET, AGREEING, LOST = 13, 0.6, 8, 3.0
HEAD = """# Ranks where the right one is known

Written by `make bench-planted-rank` and `make bench-nested-widths` from `benchmarks/results/`; do not edit.

Images are drawn, and their labels follow from a frozen block behind a shift of a planted rank. An adapter before the
same block learns it. "Best" is the smallest rank whose accuracy on test images lies within a point of the best one's:
with few images that is less than what was planted, since a larger rank learns their noise. Ranks are 0 (the head
alone), 1, 2, 4 ... 64, and the rule and the order of the search are those of `atd train --rank auto`.
"""
NOT_RUN = "**Not run yet**: `make {}`.\n"


def page(searched: Facts | None, seeds: Facts | None, nested: Facts | None, cheaper: Facts | None) -> str:
    """Return the page as Markdown; None is what was not run."""
    lines = [HEAD, "## The search\n", *(_search(searched) if searched else [NOT_RUN.format("bench-planted-rank")])]
    lines += ["## Ten seeds\n", *(_seeds(seeds) if seeds else [NOT_RUN.format("bench-planted-rank")])]
    shorter = _cheaper(searched, cheaper) if searched and cheaper else [NOT_RUN.format("bench-planted-rank")]
    lines += ["## Cheaper searches\n", *shorter]
    lines += ["## Nested widths\n", *(_nested(nested) if nested else [NOT_RUN.format("bench-nested-widths")])]
    found = {"search": searched, "seeds": seeds, "cheaper searches": cheaper, "nested widths": nested}
    return "\n".join([*lines, "## Machines\n", *_machines(found), ""])


def _search(facts: Facts) -> Iterator[str]:
    yield heading("planted", "images", "decay", "seed", "tried", "picked", "best", "points lost")
    for one in facts["cases"]:
        case, tried = one["case"], ", ".join(map(str, one["tried"]))
        cells = (*_drawn(case), str(case["seed"]), tried, str(one["picked"]), str(one["oracle"]))
        yield row(*cells, f"{one['regret']:.1f}")
    shifted = [one for one in facts["cases"] if one["case"]["rank"]]
    near, lost = sum(one["near"] for one in shifted), float(np.mean([one["regret"] for one in shifted]))
    zeros = [one["picked"] for one in facts["cases"] if not one["case"]["rank"]]
    yield f"\n- The best rank or one an octave from it: {near} of {len(shifted)}, wanted {at_least(near, NEAR)}."
    yield f"- Points of accuracy lost on average: {lost:.2f}, wanted at most {at_most(lost, REGRET)}."
    yield f"- Where nothing is planted the head alone was picked in {zeros.count(0)} of {len(zeros)}.\n"


def _seeds(facts: Facts) -> Iterator[str]:
    yield "The data stay as they are; a seed gives every adapter of a search another beginning and order of images.\n"
    yield heading("planted", "images", "decay", "picked", "a rank or its neighbours", "wanted")
    for one in facts["cases"]:
        picked, agreeing = ", ".join(map(str, one["picked"])), one["agreeing"]
        alike = f"{agreeing} of {len(one['picked'])}: {one['centre']}"
        yield row(*_drawn(one["case"]), picked, alike, at_least(agreeing, AGREEING))
    yield ""


def _cheaper(searched: Facts, cheaper: Facts) -> Iterator[str]:
    """Yield a line for each way; what a rank is worth on the whole schedule is known from the search."""
    yield (
        'What a search costs, in trainings of one rank on the whole schedule, and what it picks. "Half" and "a\n'
        'quarter" train each rank on a shorter schedule; "losers stopped" ends a rank after half of it where it then\n'
        'lies two standard errors behind; "nested" picks among the widths of one training. "Points lost" are of the\n'
        "picked rank trained on the whole schedule.\n"
    )
    yield heading(
        "way", "cost", "as the whole search", "best or an octave off", "points lost", "most lost", "null cases at 0"
    )
    known = {_key(one["case"]): one for one in searched["cases"]}
    ranks = [int(rank) for rank in searched["cases"][0]["accuracies"]]
    for name in cheaper["cases"][0]["found"]:
        rows = [(known[_key(one["case"])], one["found"][name], one["found"]["whole"]) for one in cheaper["cases"]]
        shifted = [(one, found) for one, found, _ in rows if one["case"]["rank"]]
        lost = [max(one["accuracies"].values()) - one["accuracies"][str(found["picked"])] for one, found in shifted]
        near = sum(abs(ranks.index(found["picked"]) - ranks.index(one["oracle"])) <= 1 for one, found in shifted)
        same = sum(found["picked"] == whole["picked"] for _, found, whole in rows)
        empty = [found["picked"] for one, found, _ in rows if not one["case"]["rank"]]
        cost = float(np.mean([found["cost"] for _, found, _ in rows]))
        cells = (f"{cost:.1f}", f"{same} of {len(rows)}", f"{near} of {len(shifted)}", f"{np.mean(lost):.2f}")
        yield row(name, *cells, f"{max(lost):.1f}", f"{empty.count(0)} of {len(empty)}")
    yield ""


def _key(case: Facts) -> tuple[float, ...]:
    return tuple(case[name] for name in ("rank", "images", "decay", "seed"))


def _nested(facts: Facts) -> Iterator[str]:
    widths: Sequence[int] = facts["widths"]
    yield (
        "One adapter whose first units are adapters too, trained in four ways, beside one trained at each width\n"
        f"alone; accuracy, mean over {len(facts['cases'])} cases. `--rank nested` lets the images of a batch take the\n"
        'widths in turn; a step of "sandwich" and "all" computes the batch twice and six times.\n'
    )
    means = {name: _mean(facts, name) for name in facts["cases"][0]["accuracies"]}
    yield heading("way", *map(str, widths), "mean")
    for name, mean in means.items():
        yield row(name, *(f"{value:.1f}" for value in mean), f"{mean.mean():.1f}")
    lost = float((means["trained alone"] - means["in turn"]).max())
    wanted = at_most(lost, LOST)
    yield f"\n- In turn loses {lost:.1f} points at most to a width trained alone, wanted at most {wanted}.\n"


def _mean(facts: Facts, name: str) -> np.ndarray:
    mean: np.ndarray = np.array([case["accuracies"][name] for case in facts["cases"]]).mean(axis=0)
    return mean


def _drawn(case: Facts) -> tuple[str, ...]:
    return str(case["rank"]), f"{case['images']:,}", f"{case['decay']:g}"


def _machines(found: dict[str, Facts | None]) -> list[str]:
    return [f"- {name}: {machine(facts['machine'])}" for name, facts in found.items() if facts]


def main() -> None:
    """Write the page from the results."""
    PAGE.write_text(page(*map(documents.read, ("planted_rank", "planted_seeds", "nested_widths", "cheaper_ranks"))))
    print(f"page written to {PAGE}")


if __name__ == "__main__":
    main()
