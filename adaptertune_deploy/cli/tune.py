"""atd tune: how this machine serves a bundle best, measured; atd serve follows it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from adaptertune_deploy.cli.parts import engines, measuring, options
from adaptertune_deploy.cli.parts.options import ENGINE, value
from adaptertune_deploy.cli.terminal import completion, console, table, text
from adaptertune_deploy.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adaptertune_deploy.bench.tried import Tried
    from adaptertune_deploy.bench.tune import Request
    from adaptertune_deploy.bench.tuning import Tuning
    from adaptertune_deploy.core.bundle.manifest import Manifest

ALLOW = "Precisions below fp32 that may be chosen, comma-separated, where answers stay within their tolerance."
THREADS = "CPU threads of a run to try, comma-separated, besides the engine's own choice."
BATCHES = "Rows of a run to try, comma-separated."
LATENCY = "Of three runs in four at most; larger batches take longer and answer more images a second."
NO_BOUND = "no bound"
MOST_NAMED = 4
UNTUNED = "untuned"  # a server of which nobody asked anything
FINAL = "final"  # ran side by side with the untuned server


def tune(
    bundle: measuring.BundlePath = Path("bundle"),
    allow: Annotated[
        str | None, value("--allow", "NAMES", ENGINE, ALLOW, "fp32 alone", completion.precision_list)
    ] = None,
    engine: measuring.Engines = None,
    device: engines.Device = "auto",
    form: options.Form = "auto",
    threads: Annotated[str | None, value("--threads", "LIST", ENGINE, THREADS, "1, half and all of the cores")] = None,
    batch: Annotated[str, value("--batch", "LIST", ENGINE, BATCHES)] = "1,2,4,8,16,32",
    latency: Annotated[float | None, value("--latency", "MS", ENGINE, LATENCY, NO_BOUND)] = None,
    time: measuring.Time = 60.0,
    adapters_dir: measuring.Samples = None,
    as_json: options.Json = False,
) -> None:
    """Find how this machine serves a bundle best: engine, precision, threads and batch.

    Every configuration is compared with torch's stored answers and timed; the best ones run side by side with the
    untuned server. The choice, its evidence and the machine go into $ATD_CACHE, not into the bundle. atd serve follows
    it and says so; its own options win, and --no-tuning ignores it.

    \b
    atd tune
    atd tune bundle --allow bf16,int8
    atd tune bundle --latency 20 --time 120    no run of a batch above 20 ms
    """
    from adaptertune_deploy.bench.machine import describe_machine
    from adaptertune_deploy.bench.tuning import served_form, write_tuning
    from adaptertune_deploy.cli.parts import tasks
    from adaptertune_deploy.core.bundle.folder import read_manifest
    from adaptertune_deploy.core.precision import Precision
    from adaptertune_deploy.core.storage.cache import cache_folder
    from adaptertune_deploy.core.storage.files import check_writable
    from adaptertune_deploy.engines.options import check_threads

    options.check_form(form)
    measuring.check_time(time)
    _check_latency(latency)
    allowed = engines.precisions_named(allow, "--allow") if allow is not None else ()
    batches = measuring.numbers("--batch", batch)
    counts = measuring.numbers("--threads", threads, 0) if threads is not None else None
    for count in counts or ():
        check_threads(count)
    with tasks.reading(bundle):
        manifest = read_manifest(bundle)
        measuring.forms(bundle, manifest, form)
    names = measuring.engines_named(engine, device)
    check_writable(cache_folder("tuning"), "ATD_CACHE")
    machine = describe_machine()
    with console.loading("engines"):
        from adaptertune_deploy.bench import tune as tuning
        from adaptertune_deploy.bench.budget import Budget

    request = tuning.Request(
        form=str(served_form(manifest, form)),
        engines=names,
        allowed=tuple(precision for precision in allowed if precision is not Precision.FP32),
        device=device,
        threads=counts if counts is not None else tuning.thread_counts(machine.cores),
        batches=batches,
        latency_ms=latency,
    )
    with tasks.reading(bundle):
        known = measuring.known_of(bundle, manifest, adapters_dir)
        _say_absent(manifest, request)
        with console.progress_bars() as progress:
            found = tuning.tune(bundle, manifest, request, known, machine, Budget(time, progress))
    path = write_tuning(found)
    if as_json:
        console.print_json(_facts(found, path))
    else:
        show(bundle, found, path)


def _facts(found: Tuning, path: Path) -> dict[str, Any]:
    """Return what was found, and the file that keeps it, as plain JSON values."""
    import json

    from adaptertune_deploy.core.storage.records import dump

    return {"file": str(path), **json.loads(dump(found))}


def _check_latency(latency: float | None) -> None:
    if latency is not None and not 0 < latency < 1e6:
        raise UsageError(f"--latency {latency:g}: expected milliseconds above 0")


def _say_absent(manifest: Manifest, request: Request) -> None:
    """Say which allowed precisions nothing here runs."""
    from adaptertune_deploy.bench.tune import ways

    here = {way.precision for way in ways(manifest, request)}
    for precision in request.allowed:
        if precision not in here:
            console.print_note(
                f"--allow {precision}: the bundle holds no such {request.form} graph that "
                f"{' or '.join(request.engines)} runs here; make one with: atd export --precision fp32,{precision}"
            )


def show(bundle: Path, found: Tuning, path: Path) -> None:
    """Print what was tried, what was left out and why, and the choice."""
    from adaptertune_deploy.cli.terminal import next as following

    console.print_line(found.machine.words)
    columns: list[table.Column] = [table.Words("engine"), "batch", "ms", "images/s", "same top-1", ""]
    table.show(console.out, "", columns, list(_rows(found)))
    for line in _left_out(found):
        console.print_line(line)
    console.print_line("")
    console.print_important(_sentence(found))
    console.print_line(f"written to {path}; atd serve follows it, atd serve --no-tuning does not", copied=True)
    names = {"--bundle": following.unless(bundle, following.BUNDLE)}
    console.print_next(following.command("atd", "serve", options=names))


def _rows(found: Tuning) -> Iterator[tuple[str, ...]]:
    """Yield the best batch of each setup that was looked at, then what ran side by side."""
    same = {(entry.engine, entry.precision): f"{entry.same} of {entry.images}" for entry in found.evidence.checked}
    final = {(entry.setup, entry.batch) for entry in found.evidence.final}
    best: dict[object, Tried] = {}
    for entry in found.evidence.looked:
        if entry.setup not in best or entry.images_per_second > best[entry.setup].images_per_second:
            best[entry.setup] = entry
    for entry in best.values():
        if (entry.setup, entry.batch) not in final:
            yield _row(entry, same.get((entry.engine, entry.precision), ""), "")
    for entry in sorted(found.evidence.final, key=lambda entry: entry.images_per_second):
        marks = {_first(found): found.evidence.final[0], "chosen": found.choice}
        names = ", ".join(name for name, marked in marks.items() if entry == marked)
        yield _row(entry, same.get((entry.engine, entry.precision), ""), names or FINAL)


def _row(entry: Tried, same: str, note: str) -> tuple[str, ...]:
    spread = entry.milliseconds
    milliseconds = f"{spread.median:.1f} [{spread.low:.1f}, {spread.high:.1f}]"
    return (
        entry.setup.words,
        str(entry.batch),
        milliseconds,
        f"{entry.images_per_second:.1f}",
        same,
        note,
    )


def _left_out(found: Tuning) -> Iterator[str]:
    """Yield one line a reason."""
    from adaptertune_deploy.bench.setups import Setup

    reasons: dict[str, list[str]] = {}
    for entry in found.evidence.left_out:
        reasons.setdefault(entry.reason, []).append(Setup(entry.engine, entry.precision, threads=entry.threads).words)
    for reason, names in reasons.items():
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        yield f"out: {', '.join(names[:MOST_NAMED])}{more}: {reason}"


def _sentence(found: Tuning) -> str:
    """Return the choice with its gain over the untuned server, and on how much that rests."""
    choice, first = found.choice, _first(found)
    rounds = text.plural(choice.rounds, "round")
    if choice == found.evidence.final[0]:
        return f"{choice.words}: as {first}; nothing was faster by more than noise in {rounds}"
    gain = choice.gain
    times = f"{gain.median:.2f} [{gain.low:.2f}, {gain.high:.2f}] times as many images as {first}" if gain else ""
    asked = found.latency_ms is not None  # then fewer images are the price of what was asked for
    loses = gain is not None and first == UNTUNED and gain.high < 1 and not asked
    slower = "; that is slower: atd serve --no-tuning" if loses else ""
    return f"{choice.words}: {choice.images_per_second:.1f} images/s, {times}, {rounds} side by side{slower}"


def _first(found: Tuning) -> str:
    """Return what people call the configuration that gains are over."""
    from adaptertune_deploy.engines.options import USUAL

    first = found.evidence.final[0]
    return UNTUNED if (first.engine, first.precision) == (USUAL.engine, USUAL.precision) else first.setup.words
