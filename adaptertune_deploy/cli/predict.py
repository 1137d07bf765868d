"""atd predict: answers without a server."""

from __future__ import annotations

import dataclasses
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adaptertune_deploy.cli.parts import engines, options
from adaptertune_deploy.cli.terminal import console, table
from adaptertune_deploy.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adaptertune_deploy.core.storage.tensors import Array
    from adaptertune_deploy.serve.answers import Answer
    from adaptertune_deploy.serve.sessions.session import Session

STANDARD_INPUT = Path("-")
SHOWN = 4  # features on a line
EMBED = "Give the features that each task's head is given, not its answers."
OUT = "File for the features: .npy for one task, .npz for several."


def predict(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES", help="Image files; - reads standard input.")],
    adapters: options.ServedTasks = None,
    top_k: Annotated[int, options.value("--top-k", "N", options.OUTPUT, "Labels per answer.")] = 3,
    form: options.Form = "auto",
    engine: engines.Engine = "onnxruntime",
    device: engines.Device = "auto",
    precision: engines.Precision = "fp32",
    threads: options.Threads = 0,
    settings: engines.Settings = None,
    bundle: options.Bundle = Path("bundle"),
    embed: Annotated[bool, options.flag("--embed", options.OUTPUT, EMBED)] = False,
    out: Annotated[Path | None, options.value("--out", "FILE", options.OUTPUT, OUT, "the terminal")] = None,
    as_json: options.Json = False,
) -> None:
    """Classify images with tasks of a bundle, by the code that serves.

    \b
    atd predict cat.jpg dog.jpg --adapters pets
    atd predict photos/*.jpg --json
    atd predict photos/*.jpg --adapters pets --embed --out features.npy
    """
    from adaptertune_deploy.cli.parts import tasks

    options.check_at_least("--top-k", top_k, 1)
    options.check_form(form)
    asked = engines.asked(engine, device, settings, precision, threads)
    _check_embed(embed, out, form)
    names = tasks.served(bundle, adapters)
    encoded = [_read(path) for path in images]
    from adaptertune_deploy.serve.offline.classify import classify
    from adaptertune_deploy.serve.sessions.session import open_session

    with tasks.reading(bundle):
        session = open_session(bundle, names, form, asked)
    with closing(session):
        if embed:
            _embed(session, images, encoded, out, as_json)
            return
        answers = classify(session, encoded, None, top_k, [str(path) for path in images])
    if as_json:
        facts = [{"file": str(images[answer.image]), **_facts(answer)} for answer in answers]
        console.print_json(facts)
    else:
        show(images, answers)


def _read(path: Path) -> bytes:
    from adaptertune_deploy.core.images.image_file import read_image, read_stream

    if path == STANDARD_INPUT:
        if sys.stdin is None:
            raise UsageError("-: standard input is closed; give an image file")
        return read_stream(sys.stdin.buffer, "standard input")
    try:
        return read_image(path)
    except OSError as error:
        raise UsageError(f"{path}: can't be read ({error.strerror}); give an image file") from None


def _check_embed(embed: bool, out: Path | None, form: str) -> None:
    if out is not None and not embed:
        raise UsageError(f"--out {out}: only features are written to a file; add --embed")
    if embed and form == "merged":
        raise UsageError("--embed: merged graphs give logits only; leave out --form merged")


def _embed(session: Session, images: list[Path], encoded: list[bytes], out: Path | None, as_json: bool) -> None:
    """Print the features of images, or write them to a file."""
    from adaptertune_deploy.serve.offline import embed

    names = [str(path) for path in images]
    if out is not None:
        embed.check_file(out, [task.name for task in session.tasks.values()])
    features = embed.embed(session, encoded, names=names)
    if out is not None:
        embed.write(out, features, names)
        width = next(iter(features.values())).shape[1]
        facts = {"file": str(out), "images": len(names), "tasks": list(features), "features": width}
        text = f"{len(names)} x {width} features of {', '.join(features)} written to {out}"
        console.print_json(facts) if as_json else console.print_line(text)
        return
    rows = [(name, task, found[place]) for place, name in enumerate(names) for task, found in features.items()]
    if as_json:
        console.print_json([{"file": name, "task": task, "features": row.tolist()} for name, task, row in rows])
    else:
        show_features(rows)


def show_features(rows: Sequence[tuple[str, str, Array]]) -> None:
    """Print one line for each image and task: how many features there are, and the first of them."""
    lines = [
        (name, task, str(len(row)), ", ".join(f"{value:.3f}" for value in row[:SHOWN].tolist()) + ", ...")
        for name, task, row in rows
    ]
    words = table.Words
    table.show(console.out, "", (words("image"), words("task"), "features", words("the first")), lines)


def _facts(answer: Answer) -> dict[str, object]:
    facts = dataclasses.asdict(answer)
    del facts["image"]
    return facts


def show(images: list[Path], answers: list[Answer]) -> None:
    """Print one line an answer; the images are named as they were given."""
    rows = []
    for answer in answers:
        first, *others = answer.top
        then = ", ".join(f"{other.label} {100 * other.probability:.0f} %" for other in others)
        rows.append((str(images[answer.image]), answer.task, first.label, f"{100 * first.probability:.1f} %", then))
    words = table.Words
    table.show(console.out, "", (words("image"), words("task"), words("answer"), "probability", words("then")), rows)
