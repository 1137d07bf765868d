"""atd bench: what this machine makes of a bundle, in milliseconds and megabytes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from adaptertune_deploy.cli.parts import engines, measuring, options
from adaptertune_deploy.cli.parts.options import DATA, ENGINE, OUTPUT, value
from adaptertune_deploy.cli.terminal import completion, console, table, text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adaptertune_deploy.bench.results import Bench, Ran

OUT = "Folder for bench.json and one picture, bench.png."
WAY = "graphs and engine"
PRECISIONS = "Precisions to compare, comma-separated."


def bench(
    bundle: measuring.BundlePath = Path("bundle"),
    engine: measuring.Engines = None,
    precision: Annotated[
        str | None,
        value("--precision", "NAMES", ENGINE, PRECISIONS, "all that the bundle holds", completion.precision_list),
    ] = None,
    device: engines.Device = "auto",
    form: options.Form = "auto",
    threads: options.Threads = 0,
    batch: Annotated[str, value("--batch", "LIST", DATA, "Rows of a run, comma-separated.")] = "1,8",
    tasks: Annotated[
        str, value("--tasks", "LIST", DATA, "Numbers of tasks, comma-separated; the bundle's are repeated.")
    ] = "1,3,10",
    time: measuring.Time = 60.0,
    out: Annotated[Path | None, value("--out", "FOLDER", OUTPUT, OUT, "the terminal alone")] = None,
    adapters_dir: measuring.Samples = None,
    as_json: options.Json = False,
) -> None:
    """Measure a bundle on this machine: time, memory and answers, of N models and of one backbone for N tasks.

    Every form, engine and precision is compared with torch's stored answers, then timed in common rounds, at every
    batch and number of tasks; memory is that of a fresh process each. Beside it stands what the engine does at most
    here, in large matrix products.

    \b
    atd bench
    atd bench bundle --tasks 1,10,100 --time 300 --out bench
    atd bench bundle --precision fp32,bf16 --engine openvino --json
    """
    from adaptertune_deploy.bench.machine import describe_machine
    from adaptertune_deploy.cli.parts import tasks as named
    from adaptertune_deploy.core.bundle.folder import read_manifest
    from adaptertune_deploy.core.precision import Precision
    from adaptertune_deploy.core.storage.files import check_writable
    from adaptertune_deploy.engines.options import check_threads

    options.check_form(form)
    check_threads(threads)
    measuring.check_time(time)
    precisions = tuple(Precision) if precision is None else engines.precisions_named(precision)
    batches, counts = measuring.numbers("--batch", batch), measuring.numbers("--tasks", tasks)
    with named.reading(bundle):
        manifest = read_manifest(bundle)
    forms = measuring.forms(bundle, manifest, form)
    names = measuring.engines_named(engine, device)
    if out is not None:
        check_writable(out, "--out")
    machine = describe_machine()
    with console.loading("engines"):
        from adaptertune_deploy.bench import measure as measuring_
        from adaptertune_deploy.bench.budget import Budget

    plan = measuring_.Plan(forms, names, precisions, device, threads, batches, counts)
    with named.reading(bundle):
        known = measuring.known_of(bundle, manifest, adapters_dir)
        with console.progress_bars() as progress:
            found = measuring_.measure(bundle, manifest, plan, known, machine, Budget(time, progress))
    written = _write(out, found) if out is not None else ()
    if as_json:
        import json

        from adaptertune_deploy.core.storage.records import dump

        console.print_json(json.loads(dump(found)))
        return
    show(found)
    if form == "auto" and "merged" not in forms:
        console.print_note("no merged graph of every task to compare with; make them with: atd export --merge")
    if written:
        console.print_line(f"written: {', '.join(map(str, written))}", copied=True)


def _write(out: Path, found: Bench) -> tuple[Path, ...]:
    """Write the numbers, and the picture where it can be drawn."""
    from adaptertune_deploy.bench.picture import PICTURE_NAME, can_draw, draw_bench
    from adaptertune_deploy.bench.results import write_bench
    from adaptertune_deploy.core.storage.files import write_bytes

    path = write_bench(out, found)
    if not can_draw():
        console.print_note("no picture: matplotlib is not installed; pip install 'adaptertune-deploy[plot]'")
        return (path,)
    with console.loading("matplotlib"):
        write_bytes(out / PICTURE_NAME, draw_bench(found))
    return path, out / PICTURE_NAME


def show(found: Bench) -> None:
    """Print the machine, the answers, one table for each number of tasks and batch, and what it comes to."""
    gflop = f", {found.image_gflop:.3g} GFLOP an image" if found.image_gflop is not None else ""
    console.print_line(f"{found.machine.words}; {found.backbone}{gflop}")
    _show_answers(found)
    for tasks, batch in dict.fromkeys((entry.tasks, entry.batch) for entry in found.ran):
        ran = [entry for entry in found.ran if (entry.tasks, entry.batch) == (tasks, batch)]
        rounds = text.plural(ran[0].rounds, "round")
        title = f"{text.plural(tasks, 'task')}, {text.plural(batch, 'row')} a run, {rounds}"
        columns: list[table.Column] = [table.Words(WAY), "p50 ms", "p99", "images/s", "MB", "on disk", "of limit"]
        console.print_line("")
        table.show(console.out, title, columns, [_row(entry) for entry in ran])
    for line in found.left_out:
        console.print_line(f"not measured: {line}")
    sentences = list(_sentences(found))
    if sentences:
        console.print_line("")
    for sentence in sentences:
        console.print_important(sentence)


def _show_answers(found: Bench) -> None:
    limits = {(entry.engine, entry.precision): entry.gflops for entry in found.limits}
    answered = {entry.way: entry for entry in found.answered}
    rows = []
    for way in dict.fromkeys([*answered, *(entry.way for entry in found.ran)]):
        entry, limit = answered.get(way), limits.get((way.engine, way.precision))
        rows.append(
            (
                way.words,
                f"{entry.same} of {entry.images}" if entry else "",
                f"{entry.max_abs:.1e}" if entry else "",
                f"{100 * entry.of_tolerance:.0f} %" if entry else "",
                f"{limit:.0f}" if limit else "",
            )
        )
    columns: list[table.Column] = [table.Words(WAY), "same top-1", "max diff", "of tolerance", "GFLOP/s at most"]
    console.print_line("")
    table.show(console.out, "answers against torch's, and the limit of matrix products", columns, rows)


def _row(entry: Ran) -> tuple[str, ...]:
    from adaptertune_deploy.bench.budget import LEAST

    spread, spreads = entry.milliseconds, entry.rounds >= LEAST
    return (
        entry.way.words,
        f"{spread.median:.1f} [{spread.low:.1f}, {spread.high:.1f}]" if spreads else f"{spread.median:.1f}",
        f"{entry.p99_ms:.1f}" if spreads else "",
        f"{entry.images_per_second:.1f}",
        f"{entry.memory_mb:.0f}" if entry.memory_mb is not None else "",
        text.human_bytes(entry.disk_bytes),
        f"{100 * entry.of_limit:.0f} %" if entry.of_limit is not None else "",
    )


def _sentences(found: Bench) -> Iterator[str]:
    """Yield what one backbone costs against N models, for the most tasks and the largest batch."""
    from adaptertune_deploy.bench.budget import LEAST

    tasks = max((entry.tasks for entry in found.ran), default=0)
    batch = max((entry.batch for entry in found.ran), default=0)
    last = {entry.way: entry for entry in found.ran if (entry.tasks, entry.batch) == (tasks, batch)}
    for way, one in last.items():
        many = [entry for other, entry in last.items() if _pairs(way.form, other.form) and _same(entry, one)]
        few = "" if one.rounds >= LEAST else f"; {text.plural(one.rounds, 'round')}, time was up: give --time more"
        for entry in many:
            yield (
                f"{text.plural(tasks, 'task')} in {way.precision} on {way.engine}: one backbone {_cost(one)}, "
                f"{text.plural(tasks, 'model')} {_cost(entry)} for {text.plural(batch, 'row')}{few}"
            )


def _pairs(one: str, other: str) -> bool:
    return (one, other) == ("shared", "merged")


def _same(entry: Ran, other: Ran) -> bool:
    return (entry.way.engine, entry.way.precision) == (other.way.engine, other.way.precision)


def _cost(entry: Ran) -> str:
    memory = f" and {entry.memory_mb:.0f} MB" if entry.memory_mb is not None else ""
    return f"{entry.milliseconds.median:.1f} ms{memory}"
