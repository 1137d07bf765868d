"""What a person reads of the graphs that a bundle holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from adaptertune_deploy.core.precision import Precision

MOST_NAMED = 8


def in_words(graphs: Iterable[tuple[str, Precision, str | None]], form: str) -> str:
    """Return graphs in words, those of one form first: "merged fp32, int8 of pets, birds and shared fp32".

    Args:
        graphs: form, precision and task (None for the shared form) of each.
        form: see above.
    """
    tasks: dict[tuple[str, Precision], list[str]] = {}
    for kind, precision, task in sorted(graphs, key=lambda graph: graph[0] != form):
        tasks.setdefault((kind, precision), []).extend([task] if task else [])
    alike: dict[tuple[str, tuple[str, ...]], list[Precision]] = {}
    for (kind, precision), names in tasks.items():
        alike.setdefault((kind, tuple(names)), []).append(precision)
    held = [
        f"{kind} {', '.join(precisions)}" + (f" of {_some(names)}" if names else "")
        for (kind, names), precisions in alike.items()
    ]
    return " and ".join(held) or "adapters"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
