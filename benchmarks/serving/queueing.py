"""How long requests wait for each other though each takes as long as any other: the queue M/D/1."""

from __future__ import annotations

import math


def answered_within(load: float, time: float) -> float:
    """Return the share of requests that are answered within a time, that of one service being 1.

    Requests come at random moments (a Poisson process) to one server, which takes as long for each; Erlang's formula
    for the waiting time (Crommelin 1932; Gross and Harris, Fundamentals of Queueing Theory, M/D/1).

    Args:
        load: share of the server's time that is asked for, 0 to below 1.
        time: from a request to its answer.
    """
    waiting = time - 1
    if waiting < 0:
        return 0.0
    terms = ((load * (waiting - place), place) for place in range(math.floor(waiting) + 1))
    return (1 - load) * math.fsum((-left) ** place / math.factorial(place) * math.exp(left) for left, place in terms)


def percentile(load: float, share: float) -> float:
    """Return the time within which this share of requests is answered; see answered_within."""
    low, high = 1.0, 2.0
    while answered_within(load, high) < share:
        high *= 2
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if answered_within(load, middle) < share else (low, middle)
    return high
