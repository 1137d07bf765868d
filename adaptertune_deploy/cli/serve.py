"""atd serve: many tasks over HTTP from one backbone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adaptertune_deploy.cli import console, options


def serve(
    adapters: options.TaskList = None,
    bundle: options.Bundle = Path("bundle"),
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="TCP port; 0 takes a free one.")] = 8000,
    form: options.Form = "auto",
    provider: options.Provider = "auto",
    threads: options.Threads = 0,
    max_batch: Annotated[int, typer.Option("--max-batch", help="Rows of one engine run.")] = 8,
    queue_limit: Annotated[
        int, typer.Option("--queue-limit", help="Rows accepted and not yet answered; beyond it: 503.")
    ] = 128,
    drain_delay: Annotated[
        float, typer.Option("--drain-delay", help="Seconds to go on answering after SIGTERM while not ready.")
    ] = 0.0,
) -> None:
    """Serve tasks over HTTP: POST /v1/predict, and the Open Inference Protocol v2 for tritonclient and KServe.

    \b
    atd serve --adapters pets,flowers
    curl --data-binary @cat.jpg 'localhost:8000/v1/predict?tasks=pets,flowers&top_k=3'
    """
    from adaptertune_deploy.serve.app import make_app
    from adaptertune_deploy.serve.server import serve as run_server
    from adaptertune_deploy.serve.session import open_session
    from adaptertune_deploy.serve.settings import Settings

    settings = Settings(
        max_batch=max_batch,
        max_request_rows=min(64, queue_limit),
        queue_limit=queue_limit,
        drain_delay=drain_delay,
    )
    session = open_session(bundle, options.split_names(adapters), form, provider=provider, threads=threads)
    names = [task.name for task in session.tasks]

    def announce(at: str, number: int) -> None:
        url = f"http://{at}:{number}"
        console.out.print(
            f"serving {', '.join(names)} from {bundle}/ ({session.form} form, {session.provider}) on [bold]{url}[/]",
            soft_wrap=True,
        )
        console.print_next(f"curl --data-binary @IMAGE '{url}/v1/predict?tasks={','.join(names)}'")

    try:
        run_server(make_app(session, settings), host, port, announce)
    finally:
        session.close()
    console.err.print("stopped; every accepted request was answered")
