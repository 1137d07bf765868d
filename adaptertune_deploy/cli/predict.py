"""atd predict: answers without a server."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adaptertune_deploy.cli import console, options, table
from adaptertune_deploy.core.errors import UsageError

if TYPE_CHECKING:
    from adaptertune_deploy.serve.answers import Answer

STANDARD_INPUT = Path("-")


def predict(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES", help="Image files; - reads standard input.")],
    adapters: options.ServedTasks = None,
    top_k: Annotated[int, options.value("--top-k", "N", options.OUTPUT, "Labels per answer.")] = 3,
    form: options.Form = "auto",
    provider: options.Provider = "auto",
    threads: options.Threads = 0,
    bundle: options.Bundle = Path("bundle"),
    as_json: options.Json = False,
) -> None:
    """Classify images with tasks of a bundle, by the code that serves.

    \b
    atd predict cat.jpg dog.jpg --adapters pets
    atd predict photos/*.jpg --json
    """
    from adaptertune_deploy.cli import tasks

    options.check_at_least("--top-k", top_k, 1)
    options.check_engine(form, provider, threads)
    names = tasks.served(bundle, adapters)
    encoded = [_read(path) for path in images]
    from adaptertune_deploy.serve.classify import classify
    from adaptertune_deploy.serve.session import open_session

    with tasks.reading(bundle):
        session = open_session(bundle, names, form, provider=provider, threads=threads)
    try:
        answers = classify(session, encoded, None, top_k, [str(path) for path in images])
    finally:
        session.close()
    if as_json:
        facts = [{"file": str(images[answer.image]), **_facts(answer)} for answer in answers]
        console.print_json(facts)
    else:
        show(images, answers)


def _read(path: Path) -> bytes:
    if path == STANDARD_INPUT:
        return sys.stdin.buffer.read()
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: can't be read ({error.strerror}); give an image file") from None


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
