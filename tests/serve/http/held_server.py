"""A server process whose engine waits for a line on stdin; prints "listening PORT", then "running" in an engine run.

Arguments: how the engine fares, "fine", "broken", or "stuck" in its first run, or "hung" in a later one.
"""

from __future__ import annotations

import sys
import threading

from adaptertune_deploy.core.errors import AtdError
from adaptertune_deploy.serve.http.app import make_app
from adaptertune_deploy.serve.http.server import serve
from adaptertune_deploy.serve.settings import Settings
from tests.serve.fakes import FakeEngine, make_shared


def main() -> None:
    engine = FakeEngine()
    if sys.argv[1] == "broken":
        engine.error = RuntimeError("no such device")
    if sys.argv[1] == "stuck":
        engine.gate.clear()
    seconds = {"stuck": 1.0, "hung": 0.1}.get(sys.argv[1], 30.0)
    app = make_app(make_shared(engine), Settings(drain_delay=0, drain_timeout=seconds))
    pause = threading.Event()

    def report() -> None:
        while not app.state.service.batcher.warm:
            pause.wait(0.001)
        engine.gate.clear()
        engine.forget()
        say("held")
        engine.wait_entered()
        say("running")
        sys.stdin.readline()
        engine.gate.set()

    threading.Thread(target=report, daemon=True).start()
    try:
        serve(app, port=0, on_started=lambda host, port: say(f"listening {port}"))
    except AtdError as error:
        say(f"error {error}")
        sys.exit(error.exit_code)
    say("ended")


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
