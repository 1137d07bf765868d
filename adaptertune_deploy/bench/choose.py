"""Which of the configurations that ran side by side a server should take."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from adaptertune_deploy.bench.tried import Tried
from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.core.precision import Precision

# Where its memory happens to lie makes a session this much faster or slower for its whole life.
NOISE = 0.03
ORDER = tuple(Precision)


def choose(final: Sequence[Tried], latency_ms: float | None = None, engines: Collection[str] | None = None) -> Tried:
    """Return the configuration with the most images a second.

    Of those that are as fast within NOISE: the untuned server, which comes first; then the highest precision, the
    smallest batch, whose rows wait the shortest, and the fewest threads.

    Args:
        final: at least one, the untuned server first.
        latency_ms: three of four runs must take no longer.
        engines: those that may be chosen; None for all.

    Raises:
        UsageError: none is so fast.
    """
    able = [entry for entry in final if engines is None or entry.engine in engines]
    fitting = [entry for entry in able if latency_ms is None or entry.milliseconds.high <= latency_ms]
    if not fitting:
        best = min(able, key=lambda entry: entry.milliseconds.high)
        raise UsageError(
            f"--latency {latency_ms:g}: no configuration is so fast, the best takes {best.milliseconds.high:.1f} ms "
            f"({best.words}); allow that, or take a smaller backbone"
        )
    most = max(entry.images_per_second for entry in fitting)
    near = [entry for entry in fitting if entry.images_per_second >= (1 - NOISE) * most]
    return min(
        near,
        key=lambda entry: (entry is not final[0], ORDER.index(entry.precision), entry.batch, entry.threads),
    )
