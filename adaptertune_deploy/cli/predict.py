"""atd predict: answers without a server."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adaptertune_deploy.cli import console, options
from adaptertune_deploy.core.errors import UsageError

if TYPE_CHECKING:
    from adaptertune_deploy.serve.answers import Answer

STANDARD_INPUT = Path("-")


def predict(
    images: Annotated[list[Path], typer.Argument(help="Image files; - reads one from standard input.")],
    adapters: options.TaskList = None,
    bundle: options.Bundle = Path("bundle"),
    top_k: Annotated[int, typer.Option("--top-k", help="Labels per answer.", min=1)] = 3,
    form: options.Form = "auto",
    provider: options.Provider = "auto",
    threads: options.Threads = 0,
    as_json: options.Json = False,
) -> None:
    """Classify images with tasks of a bundle, by the code that serves.

    \b
    atd predict cat.jpg dog.jpg --adapters pets
    atd predict photos/*.jpg --json
    """
    from adaptertune_deploy.serve.classify import classify
    from adaptertune_deploy.serve.session import open_session

    encoded = [_read(path) for path in images]
    session = open_session(bundle, options.split_names(adapters), form, provider=provider, threads=threads)
    try:
        answers = classify(session, encoded, None, top_k, [str(path) for path in images])
    finally:
        session.close()
    if as_json:
        facts = [{"file": str(images[answer.image]), **_facts(answer)} for answer in answers]
        console.print_json(facts)
    else:
        _show(images, answers)


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


def _show(images: list[Path], answers: list[Answer]) -> None:
    table = console.make_table("", "image", "task", "answer", "probability", "then")
    for answer in answers:
        first, *others = answer.top
        then = ", ".join(f"{other.label} {other.probability:.0%}" for other in others)
        name = images[answer.image].name
        table.add_row(name, answer.task, console.escape(first.label), f"{first.probability:.1%}", console.escape(then))
    console.out.print(table)
