"""Which blocks get an adapter, by the words of --placement."""

from __future__ import annotations

import re

from adaptertune_deploy.core.errors import UsageError, did_you_mean


def place(placement: str, depth: int) -> tuple[int, ...]:
    """Return the indices of the blocks that get an adapter, ascending.

    Args:
        placement: "all", "last:K" (the last K blocks), "every:K" (blocks 0, K, 2K, ...) or a list from 0, "3,7,11".
        depth: number of blocks of the backbone.

    Raises:
        UsageError: another form, a K that does not fit the depth, or a block that the backbone lacks.
    """
    kind, numbers = _parse(placement, f"1 to {depth}")
    if kind == "list":
        if numbers[-1] >= depth:
            raise UsageError(f"--placement {placement}: no block {numbers[-1]}, expected blocks from 0 to {depth - 1}")
        return numbers
    (step,) = numbers
    if step > depth:
        raise UsageError(_expected(placement, f"1 to {depth}"))
    return tuple(range(depth - step, depth)) if kind == "last" else tuple(range(0, depth, step))


def check_placement(placement: str) -> None:
    """Raise UsageError when a placement can't be had on any backbone."""
    _parse(placement, "1 to the backbone's depth")


def _parse(placement: str, limits: str) -> tuple[str, tuple[int, ...]]:
    if placement == "all":
        return "every", (1,)
    if match := re.fullmatch(r"(last|every):([1-9][0-9]{0,4})", placement):
        return match[1], (int(match[2]),)
    if not re.fullmatch(r"(0|[1-9][0-9]{0,4})(,(0|[1-9][0-9]{0,4}))*", placement):
        raise UsageError(_expected(placement, limits))
    numbers = tuple(map(int, placement.split(",")))
    if list(numbers) != sorted(set(numbers)):
        raise UsageError(f"--placement {placement}: expected blocks in ascending order, none twice")
    return "list", numbers


def _expected(placement: str, limits: str) -> str:
    known = f"expected all, last:K or every:K with K from {limits}, or blocks counted from 0, as 3,7,11"
    word, colon, number = placement.partition(":")
    kinds = ("all", f"last:{number or 'K'}", f"every:{number or 'K'}")
    known_word = word in {kind.partition(":")[0] for kind in kinds}  # then it's the number that is wrong
    near = "" if known_word else did_you_mean(placement if colon else word, kinds)
    return f"--placement {placement}: {known}{near and '.'}{near}"
