"""The page docs/results/soak.md, made from the results of benchmarks.robustness.soak.

python -m benchmarks.robustness.soak_page
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from benchmarks import documents
from benchmarks.documents import Facts
from benchmarks.robustness.noisy_neighbour import WAYS
from benchmarks.wording import at_least, at_most, heading, machine, row

RESULTS, PAGE = documents.results("soak"), documents.page("soak")
GOODPUT, HEALTH_MS, GROWTH_MB, P99 = 0.95, 100.0, 16.0, 2.0

# How a good request without an answer begins in the results, and how an attack ends that found no room: under twice the
# load that is as right an answer as the refusal that it asks for.
UNANSWERED, NO_ROOM = "0:", ": 503"

HEAD = """# Soak: twice the load, good requests and bad ones

Written by `make soak` from `benchmarks/results/soak.json`; do not edit.

A real `atd serve` with its engine on one core, clients and all else on the others. Its capacity is what clients get
that ask as fast as they are answered. Then good requests come at twice that rate, whatever is answered, beside attacks
one after another and 32 silent clients; each answer is compared with the one that was computed offline.
"""


def page(facts: Facts) -> str:
    """Return the page as Markdown."""
    lines = [HEAD, *_load(facts), *_attacks(facts["overload"]), *_noisy(facts)]
    return "\n".join([*lines, "## Machine\n", machine(facts["machine"]), ""])


def _load(facts: Facts) -> Iterator[str]:
    load, rates, health = facts["overload"], facts["capacity_rows_per_s"], facts["health"]
    share = load["rows_per_s"] / rates["before"]
    unanswered = sum(one.startswith(UNANSWERED) for one in load["wrong"])
    wrong = len(load["wrong"]) - unanswered + sum(not one.endswith(NO_ROOM) for one in load["attacks_wrong"])
    yield f"## {load['seconds']:,.0f} seconds\n"
    yield heading("what", "measured", "expected")
    yield f"| capacity before, after | {rates['before']:.1f}, {rates['after']:.1f} rows/s | |"
    yield f"| requests sent | {load['sent']:,}, {load['sent'] / load['seconds']:.1f} a second | |"
    counts = ", ".join(f"{times:,} x {status}" for status, times in sorted(load["statuses"].items()))
    yield f"| answers | {counts} | 200 and 503 alone |"
    goodput = f"{load['rows_per_s']:.1f} rows/s = {share:.3f}"
    yield row("goodput to capacity", goodput, f"at least {at_least(share, GOODPUT)}")
    yield f"| wrong answers | {wrong} | {at_most(wrong, 0)} |"
    yield f"| good requests whose connection was closed without one | {unanswered} | {at_most(unanswered, 0)} |"
    if "asked_again" in load:
        yield f"| of all, asked again since an idle connection was closed meanwhile | {load['asked_again']} | |"
    longest = health["max_ms"]
    yield f"| health, longest of {health['probes']:,} | {longest:.1f} ms | {at_most(longest, HEALTH_MS)} |"
    yield f"| health, p99 | {health['p99_ms']:.1f} ms | |"
    yield f"| health not answered | {health['failed']} | {at_most(health['failed'], 0)} |"
    growth = load["memory_growth_mb"]
    yield f"| memory, last quarter above the second | {growth:.1f} MB | {at_most(growth, GROWTH_MB)} |"
    yield ""


def _attacks(load: Facts) -> Iterator[str]:
    yield "## Attacks\n"
    yield (
        "0 is a connection that broke before an answer, or a client that waits for none; 503 says that there is no\n"
        "room, which under such a load is as right an answer.\n"
    )
    yield heading("attack", "what came", text=2)
    for name, counts in load["attacks"].items():
        yield f"| {name} | {', '.join(f'{times} x {status}' for status, times in counts.items())} |"
    yield ""


def _noisy(facts: Facts) -> Iterator[str]:
    yield "## A noisy neighbour\n"
    yield "A task asked one image at a time, alone and beside eight clients that ask 64 rows of another task.\n"
    if WAYS.keys() <= facts["noisy_neighbour"].keys():
        yield "While the first is around, the other gets into a run only what makes it hardly longer.\n"
    else:
        yield (
            "**These were measured before** runs were kept short while a task with few rows is around, and not again\n"
            "since: `make noisy`.\n"
        )
    yield heading("told", "p99 alone", "p99 beside", "ratio", "at most", "refused", text=0)
    for told, found in facts["noisy_neighbour"].items():
        ratio = found["beside_p99_ms"] / found["alone_p99_ms"]
        refused = sum(times for status, times in found["quiet"].items() if status != "200")
        times = f"{found['alone_p99_ms']:.1f} ms | {found['beside_p99_ms']:.1f} ms"
        yield f"| {told} | {times} | {ratio:.2f} | {at_most(ratio, P99)} | {refused} |"
    yield ""


def main() -> None:
    """Write the page from the results."""
    if not RESULTS.exists():
        raise SystemExit(f"{RESULTS} is not there; run make soak")
    PAGE.write_text(page(json.loads(RESULTS.read_text())))
    print(f"page written to {PAGE}")


if __name__ == "__main__":
    main()
