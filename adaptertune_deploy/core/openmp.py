"""How long OpenMP's threads, which compute torch's operators on a CPU, look for the next part before they sleep."""

from __future__ import annotations

from collections.abc import MutableMapping

# libgomp's variables (its manual, "Environment Variables"): the first names the looks, the second the policy they
# follow from where the first is missing.
LOOKS, POLICY = "GOMP_SPINCOUNT", "OMP_WAIT_POLICY"
# What libgomp itself takes where it knows of more threads than cores. It counts those of its own process alone and
# otherwise takes 300,000: threads then hold a core for milliseconds at the end of every operator, while the thread that
# they wait for may be waiting for that core.
FEW_LOOKS = 1_000


def wait_briefly(environment: MutableMapping[str, str]) -> None:
    """Have waiting threads sleep soon, unless the environment says how they wait.

    It is read once, when libgomp is loaded, so this comes before the import of torch. Other OpenMP libraries ignore it.
    """
    if POLICY not in environment:
        environment.setdefault(LOOKS, str(FEW_LOOKS))
