"""What a rank that is asked for takes of a trained task: nested adapters cut to it, and what that costs."""

from __future__ import annotations

from adaptertune_deploy.core.adapter.folder import AdapterConfig
from adaptertune_deploy.core.adapter.nested import width_name
from adaptertune_deploy.core.errors import UsageError

FLOAT32 = 4  # bytes


def at_rank(config: AdapterConfig, ship: str | None, rank: int | None) -> str | None:
    """Return the candidate that ships at a rank of at most `rank`.

    Args:
        config: of the adapter folder.
        ship: the candidate that was asked for, None for the one that the config names.
        rank: None for whatever it has; a head, or an adapter that is no wider, stays as it is.

    Raises:
        UsageError: an adapter that is wider and not nested, or was not trained at that width.
    """
    shipped = config.shipped(ship)
    if rank is None or shipped.adapter.rank <= rank:
        return ship
    name, wide = shipped.name, shipped.adapter.rank
    if not config.widths:
        raise UsageError(
            f"--rank {rank}: task '{name}' has rank {wide} and is not nested, so it can't be cut; train it again with "
            f"--rank {rank}, or with --rank nested:{wide}, which can be cut at export"
        )
    if rank not in (width.rank for width in config.widths):
        trained = ", ".join(str(width.rank) for width in config.widths)
        raise UsageError(f"--rank {rank}: task '{name}' was trained at the widths {trained}; choose one of them")
    return width_name(rank)


def cost_of(config: AdapterConfig, rank: int) -> str:
    """Say what nested adapters cut to a width save, and what that costs by the record of their training.

    Args:
        config: of a folder whose adapters are nested.
        rank: one of its widths.
    """
    at = {width.rank: width.measure for width in config.widths}
    full = config.task.adapter.rank
    numbers = {width: _numbers(config, width) for width in (rank, full)}
    sizes = " of ".join(f"{FLOAT32 * numbers[width] / 1000:,.1f} kB" for width in (rank, full))
    said = f"{config.task.name} cut to rank {rank} of {full}: {numbers[rank]:,} of {numbers[full]:,} numbers, {sizes}"
    narrow, whole = at[rank], at[full]
    if narrow is None or whole is None:
        return f"{said}; its training had too few images to measure what that costs"
    return (
        f"{said}; out of fold on {narrow.images:,} images: accuracy {100 * narrow.top1:.1f} % at rank {rank}, "
        f"{100 * whole.top1:.1f} % at {full}; loss {narrow.loss:.3f} and {whole.loss:.3f}, {narrow.above:+.3f} ± "
        f"{narrow.error:.3f}"
    )


def _numbers(config: AdapterConfig, rank: int) -> int:
    """Return the numbers of adapters of a rank and their head."""
    width, blocks = config.backbone.width, len(config.task.adapter.blocks)
    return blocks * (2 * width * rank + rank + width) + len(config.task.labels) * (config.backbone.features + 1)
