"""The page docs/results/serving.md and its picture, made from the results of serving.measure and .swaps.

python -m benchmarks.serving.page
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import documents
from benchmarks.documents import Facts
from benchmarks.serving import queueing
from benchmarks.serving.capacity import SPACED
from benchmarks.serving.picture import draw
from benchmarks.wording import at_least, at_most, heading, machine, row, spread

PAGE, PICTURE = documents.page("serving"), documents.PICTURES / "serving.png"
TO_BUDGET, TO_SINGLE, MEMORY = 0.95, 2.5, 1.2
TO_ENGINE = {"vit_small_patch16_224": 0.92}  # a smaller network leaves preprocessing a larger share of the machine
AHEAD = 1.0

HEAD = """# Serving: what reaches clients

Written by `make bench-serve` from `benchmarks/results/serve.json` and `swaps.json`; do not edit.

Real servers in processes of their own with the options that `atd serve` has by default; clients on the same cores send
JPEG files of {size} pixels over HTTP. Everything takes turns in one run of {rounds} rounds, in an order drawn anew in
each; ratios are taken round by round. Medians with quartiles in brackets. Random weights and tasks of rank 8 after
every block, unless it says otherwise.

![Images a second, latency and memory](../pictures/serving.png)
"""
BUDGET = """## Images a second

The budget is what the machine could give if none of its time were lost: its cores divided by the processor time of one
image in the engine alone, in the server beside the engine (measured with an engine that takes as long and computes
nothing), and in the client. {clients} clients ask as fast as they are answered. The engine alone runs the batch size
that suits it best.
"""
HALF = """## Latency at half load

Requests come at half of what the server just gave, whatever is answered; a latency counts from the moment when a
request should have left, so that a slow answer hides no request. Their moments are evenly spaced, as perf_analyzer
sends them by default, or drawn (a Poisson process). Drawn moments come in bursts, in which requests wait for each
other on any machine: where a single image takes one server all of its time, whatever it is, p99 at half load is
{ideal:.1f} times that time (M/D/1), so the target is for the former. A single image is that of one client that waits
for its answer. Quartiles of the ratio are of the rounds drawn anew with replacement.
"""
TRITON = """## Ten tasks: one backbone, and ten models in tritonserver

{model}. NVIDIA's tritonserver, of nvidia-pytriton {version}, with one ONNX model for each task, dynamic
batching, and the same clients, requests and preprocessing code. **What runs its models is a stand-in**: the Python
package of the server lacks its ONNX Runtime backend, so each model is one of its Python backend, in a process of its
own, that decodes and runs the onnxruntime package {onnxruntime} on {threads} without spinning. Its memory is therefore
shown beside that of one process with ten such sessions and no server, which no server of ten models can go below. Both
are asked by {clients} clients at their capacity, and both at one rate, half of what the slower one gave.
"""
FIVE = """## Five tasks on one image

{model}. One client asks for five tasks about one image, then the next. The common part of the network, all before the
first adapter, runs once an image where one request asks.
"""
MANY = """## Memory of many tasks

{model}. Servers started anew; resident memory after every task was asked, pages that processes share divided among
them.
"""
SWAPS = """## Replacing a task in traffic

One of {tasks} tasks is replaced by other content through the admin listener, with nothing else to do and beside
{clients} clients that ask all the time; a swap lasts until new requests get the new version.
"""


def page(serve: Facts, swaps: Facts | None) -> str:
    """Return the page as Markdown; what was not measured is left out or said."""
    lines = [HEAD.format(size="500 x 375", rounds=serve["settings"]["rounds"])]
    lines += [*_budget(serve), *_half_load(serve), *_triton(serve), *_five(serve), *_many(serve)]
    if swaps is not None:
        lines += _swaps(swaps)
    return "\n".join([*lines, "## Machine\n", machine(serve["machine"]), ""])


def _budget(serve: Facts) -> Iterator[str]:
    yield BUDGET.format(clients=serve["settings"]["clients"])
    yield heading("model", "engine alone", "budget", "server", "to budget", "at least", "to engine", "at least")
    for model, found in serve["capacity"].items():
        to_budget, to_engine = found["to_budget"], found["to_engine"]
        limit = TO_ENGINE.get(model)
        yield row(
            model,
            f"{spread(found['engine_per_s'][str(found['batch'])])}, {found['batch']} a run",
            spread(found["budget_per_s"]),
            f"{spread(found['server_per_s'])}, at most {found['server_batch']} a run",
            spread(to_budget, 3),
            at_least(to_budget["median"], TO_BUDGET),
            spread(to_engine, 3),
            "" if limit is None else at_least(to_engine["median"], limit),
        )
    yield "\nProcessor milliseconds of one image:\n"
    parts = list(next(iter(serve["capacity"].values()))["cpu_ms"])
    yield heading("model", *parts)
    for model, found in serve["capacity"].items():
        yield row(model, *(spread(found["cpu_ms"][part], 2) for part in parts))
    yield "\nPreprocessing is a part of what the server does beside the engine; the last column includes its engine.\n"


def _half_load(serve: Facts) -> Iterator[str]:
    yield HALF.format(ideal=queueing.percentile(0.5, 0.99))
    measures = "requests", "a second", "single image, ms", "p50, ms", "p99, ms"
    yield heading("model", "moments", *measures, "p99 to single", "at most")
    for model, entry in serve["capacity"].items():
        for moments, found in entry["half_load"].items():
            low, high = (found["to_single_resampled"][name] for name in ("low", "high"))
            yield row(
                model,
                moments,
                f"{found['requests']:,}",
                f"{found['offered_per_s']['median']:.1f}",
                spread(found["single_ms"]),
                f"{found['p50_ms']:.1f}",
                f"{found['p99_ms']:.1f}",
                f"{found['to_single']:.2f} [{low:.2f}, {high:.2f}]",
                at_most(found["to_single"], TO_SINGLE) if moments == SPACED else "",
            )
    yield ""


def _triton(serve: Facts) -> Iterator[str]:
    found = serve["triton"]
    if found is None:
        yield "## Against tritonserver\n\n**Not run**: `make triton-server` was not there.\n"
        return
    threads = "one thread" if found["threads_a_model"] == 1 else f"{found['threads_a_model']} threads"
    runs = found["triton_runs"]
    yield TRITON.format(
        model=serve["settings"]["first"],
        version=runs["nvidia-pytriton"],
        onnxruntime=runs["onnxruntime"],
        threads=threads,
        clients=serve["settings"]["clients"],
    )
    ours, theirs = found["servers"]["atd"], found["servers"]["triton"]
    yield heading("what", "atd serve", "tritonserver, stand-in backend", "ours to theirs", "wanted")
    rates = found["images_per_s"]
    wanted = f"at least {at_least(rates['median'], AHEAD)}"
    yield row("images a second", *(spread(one["images_per_s"]) for one in (ours, theirs)), spread(rates, 2), wanted)
    for name, what in (("full_p99_ms", "p99 at capacity, ms"), ("half_p99_ms", "p99 at one rate, ms")):
        share = ours[name]["median"] / theirs[name]["median"]
        cells = (spread(one[name]) for one in (ours, theirs))
        yield row(what, *cells, f"{share:.2f}", f"at most {at_most(share, AHEAD)}" if name == "half_p99_ms" else "")
    share = ours["memory_mb"] / theirs["memory_mb"]
    cells = (f"{one['memory_mb']:.0f}" for one in (ours, theirs))
    yield row("memory, MB", *cells, f"{share:.2f}", f"at most {at_most(share, AHEAD)}")
    alone = found["sessions_alone_mb"]
    share = ours["memory_mb"] / alone
    yield row("ten sessions, no server, MB", "", f"{alone:.0f}", f"{share:.2f}", f"at most {at_most(share, AHEAD)}")
    yield ""


def _five(serve: Facts) -> Iterator[str]:
    yield FIVE.format(model=serve["settings"]["first"])
    yield heading("adapters after", "way", "ms an image", "to five at once", "processor ms", "to five at once")
    for where, ways in serve["five_tasks"].items():
        for way, found in ways.items():
            cells = spread(found["milliseconds"]), spread(found["to_at_once"], 3)
            yield row(where, way, *cells, spread(found["cpu_ms"]), spread(found["cpu_to_at_once"], 3))
    yield ""


def _many(serve: Facts) -> Iterator[str]:
    found = serve["many_tasks"]
    one, many = found["tasks"]
    yield MANY.format(model=serve["settings"]["first"])
    yield heading("tasks", "MB", "ratio", "at most")
    yield row(str(one), spread(found["one_mb"]), "", "")
    yield row(str(many), spread(found["many_mb"]), spread(found["ratio"], 3), at_most(found["ratio"]["median"], MEMORY))
    if "in_slots_mb" in found:
        yield row(f"{many}, {found['slots']} of them in the engine", spread(found["in_slots_mb"]), "", "")
    yield ""


def _swaps(swaps: Facts) -> Iterator[str]:
    yield SWAPS.format(tasks=swaps["tasks"], clients=swaps["clients"])
    yield heading("what", "times", "p50, ms", "p99, ms", "longest, ms")
    names = {
        "swap_ms": "a swap, nothing else to do",
        "swap_beside_requests_ms": "a swap beside requests",
        "request_ms": "a request, no swaps",
        "request_beside_swaps_ms": "a request beside swaps",
    }
    for name, what in names.items():
        found = swaps[name]
        times = (f"{found[key]:.1f}" for key in ("p50", "p99", "largest"))
        yield row(what, f"{found['count']:,}", *times)
    yield ""


def main() -> None:
    """Write the page and the picture from the results that are there."""
    serve = documents.read("serve")
    if serve is None:
        raise SystemExit(f"{documents.results('serve')} is not there; run make bench-serve")
    PAGE.write_text(page(serve, documents.read("swaps")))
    PICTURE.write_bytes(draw(serve))
    print(f"page written to {PAGE}")


if __name__ == "__main__":
    main()
