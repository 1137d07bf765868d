"""What a run showed, in sentences: what ships and why, the paired test, the comparison out of fold, the seeds.

Terminal, model card and pictures take their words from here, so that none of them says more than another.
"""

from __future__ import annotations

import math

from adaptertune_deploy.core.adapter.nested import rank_of
from adaptertune_deploy.core.answers.significance import Paired, Spread, least_difference, p_words, paired
from adaptertune_deploy.train.outcome.measured import ADAPTER, FULL, HEAD, Gate, Measured, RankChoice

NAMES = {HEAD: "head alone", ADAPTER: "adapter + head", FULL: "full fine-tuning"}
# Below this many test images one image is more than a point.
FEW_IMAGES = 100


def name_of(candidate: str) -> str:
    """Return how a person names a candidate: nested adapters cut to a rank among them."""
    rank = rank_of(candidate)
    return NAMES[candidate] if rank is None else f"{NAMES[ADAPTER]}, cut to rank {rank}"


def compared(measured: Measured) -> Paired | None:
    """Return the adapter compared with the head alone on the test images; None when no adapter was trained."""
    if measured.adapter is None:
        return None
    return paired(measured.head.scores.hits.tolist(), measured.adapter.scores.hits.tolist())


def ships(measured: Measured) -> str:
    """Say what ships and why, without a full stop."""
    what = f"the {_short(measured.ships)} ships"
    trained = _short(measured.method)
    gate = measured.gate
    if measured.adapter is None and measured.rank is not None:
        return f"{what}: no rank that was tried is shown to beat it in cross-validation"
    if measured.adapter is None:
        return f"{what}: no adapter was trained (rank 0)"
    if measured.chosen_by == "user":
        chosen = HEAD if gate is None or gate.ships == HEAD else measured.method
        judged = f"cross-validation chose the {_short(chosen)}" if _compared(gate) else "nothing was compared"
        return f"{what}: --ship {measured.ships} asked for it; {judged}"
    if gate is None or not _compared(gate):
        return f"{what}: there were too few images to compare the two"
    if gate.ships == ADAPTER:
        return f"{what}: cross-validation shows that it beats the head alone"
    if gate.gain + gate.threshold * gate.error < 0:
        return f"{what}: in cross-validation the {trained} does worse"
    return f"{what}: cross-validation shows no gain from the {trained}"


def on_the_same_images(measured: Measured) -> str | None:
    """Say how adapter and head alone differ on the test images; None when no adapter was trained."""
    result = compared(measured)
    if result is None:
        return None
    low, high = result.interval
    bounds = f"difference {100 * result.gain:+.1f} points, 95 % interval {100 * low:+.1f} .. {100 * high:+.1f}"
    return f"{_short(measured.method)} against head alone, test images: {result.words}; {bounds}"


def out_of_fold(gate: Gate, method: str = ADAPTER) -> str:
    """Say what the comparison on images that its models were not trained on found.

    Args:
        gate: the comparison.
        method: what was compared with the head alone.
    """
    if gate.head is None or gate.adapter is None:
        return f"out of fold: {gate.images:,} images are too few to compare the two"
    how = "one split" if gate.folds == 1 else f"{gate.folds} folds"
    digits = 3 if gate.error <= 0 else min(9, max(3, 1 + math.ceil(-math.log10(gate.error))))
    return (
        f"out of fold ({how}, {gate.images:,} images): loss {gate.head.loss:.{digits}f} for the head alone, "
        f"{gate.adapter.loss:.{digits}f} with the {_short(method)}; "
        f"gain {gate.gain:.{digits}f} ± {gate.error:.{digits}f} "
        f"({gate.standard_errors:.1f} standard errors, {gate.threshold:g} are asked for)"
    )


def rank(measured: Measured) -> str | None:
    """Say how the rank was found and what that cost; None where it was given."""
    choice = measured.rank
    if choice is None:
        return None
    if not choice.tried:
        return f"rank: {choice.images:,} images are too few to compare ranks, so the usual {choice.rank} was taken"
    how = "one split" if choice.folds == 1 else f"{choice.folds} folds"
    tried = ", ".join(str(one.rank) for one in choice.tried)
    alike = f", not distinguishable from {_span(choice)}" if len(choice.alike) > 1 else ""
    cost = f"; about {cost_of(measured):.1f} times the time of a given rank"
    asked = "; rank 0 was enough, but --ship adapter asked for an adapter" if choice.overruled else ""
    return f"rank {choice.rank}{alike} on {choice.images:,} images out of fold ({how}; tried {tried}){asked}{cost}"


def widths(measured: Measured) -> str | None:
    """Say what nested adapters can be cut to without a loss that shows out of fold; None where they are not nested."""
    known = [(width.record.rank, width.record.measure) for width in measured.widths]
    if not known:
        return None
    full = known[-1][0]
    ranks = ", ".join(str(rank) for rank, _ in known[:-1])
    said = f"nested: atd export --rank N cuts rank {full} to {ranks}"
    alike = [str(rank) for rank, one in known[:-1] if one is not None and one.above < one.error]
    if any(one is None for _, one in known):
        return f"{said}; too few images to compare them"
    shown = f"rank {', '.join(alike)} is" if len(alike) == 1 else f"ranks {', '.join(alike)} are"
    return f"{said}; out of fold {shown if alike else 'none is'} within a standard error of rank {full}"


def cost_of(measured: Measured) -> float:
    """Return the time of a run that searched its rank in multiples of one that is given it, reckoned by their steps."""
    if measured.rank is None or not measured.rank.tried:
        return 1.0
    return measured.seconds / (measured.seconds - measured.rank.seconds + measured.rank.instead)


def _span(choice: RankChoice) -> str:
    others = [str(rank) for rank in choice.alike if rank != choice.rank]
    return others[0] if len(others) == 1 else f"{', '.join(others[:-1])} and {others[-1]}"


def contradiction(measured: Measured) -> str | None:
    """Say so where the test images show that the other candidate is better than the one that ships."""
    result = compared(measured)
    if result is None or not result.is_shown or (result.better > result.worse) == (measured.ships != HEAD):
        return None
    other = measured.method if measured.ships == HEAD else HEAD
    return (
        f"on the test images the {_short(other)} is better than what ships ({p_words(result.p)}); whoever lets test "
        "images choose has none left to measure the choice with"
    )


def coarse(images: int, split: str = "test") -> str | None:
    """Say what a split of fewer than 100 images can't show; None for more."""
    if images >= FEW_IMAGES:
        return None
    counted = f"{images} {split} image{'' if images == 1 else 's'}: one image is {100 / images:.1f} points"
    least = least_difference()
    if images < least:
        return f"{counted}; so few can't show any difference"
    return (
        f"{counted}; models that differ on fewer than {least} images ({100 * least / images:.1f} points) can't be "
        "told apart"
    )


def seed_accuracies(measured: Measured) -> tuple[float, ...]:
    """Return the adapter's accuracy with every seed, 0..1, that of the kept one first; empty for rank 0."""
    if measured.adapter is None:
        return ()
    return (measured.adapter.scores.top1, *(repeat.adapter.scores.top1 for repeat in measured.repeats))


def seeds(measured: Measured) -> tuple[str, ...]:
    """Say how much the seed matters; nothing where only one was trained."""
    values = seed_accuracies(measured)
    if len(values) < 2:
        return ()
    spread = Spread(values)
    low, high = (100 * bound for bound in spread.bounds)
    what = "range" if spread.method == "range" else "95 % t interval of the mean"
    said = (
        f"{len(values)} seeds on the same test images: {_short(measured.method)} {100 * spread.mean:.1f} % on average, "
        f"standard deviation {100 * spread.deviation:.1f} points, {what} {low:.1f} .. {high:.1f} %"
    )
    every = (measured.gate, *(repeat.gate for repeat in measured.repeats))
    gates = [gate for gate in every if gate is not None and _compared(gate)]
    chosen = sum(gate.ships == ADAPTER for gate in gates)
    if len(gates) < 2:
        return (said,)
    return said, f"the comparison out of fold chose the {_short(measured.method)} with {chosen} of {len(gates)} seeds"


def _compared(gate: Gate | None) -> bool:
    """Return whether there were images enough for a comparison."""
    return gate is not None and gate.head is not None and gate.adapter is not None


def _short(candidate: str) -> str:
    return "adapter" if candidate == ADAPTER else NAMES[candidate]
