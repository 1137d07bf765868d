from __future__ import annotations

import re
import threading
import urllib.request

import pytest

from adaptertune_deploy.cli import console
from adaptertune_deploy.serve import server
from tests.cli.conftest import Atd


def test_it_announces_its_address_and_a_request_to_try(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server runs for real and is told to stop as soon as it listens."""
    asked = []

    def on_startup(self: server.Server) -> None:
        url = re.search(r"http://[\d.:]+", lines[0])
        assert url is not None
        with urllib.request.urlopen(f"{url[0]}/v2/health/live", timeout=60) as answer:
            asked.append(answer.status)
        self.stop()

    lines: list[str] = []
    monkeypatch.setattr(console.out, "print", lambda text, **_: lines.append(str(text)))
    original = server.Server.startup

    async def startup(self: server.Server, sockets: object = None) -> None:
        await original(self, sockets)  # type: ignore[arg-type]
        threading.Thread(target=on_startup, args=(self,)).start()

    monkeypatch.setattr(server.Server, "startup", startup)
    done = atd("serve", "--adapters", "cars,birds", "--port", "0")
    assert done.code == 0
    assert asked == [200]
    assert "serving cars, birds from bundle/ (shared form, CPUExecutionProvider)" in lines[0]
    assert "/v1/predict?tasks=cars,birds" in lines[1]
    assert "every accepted request was answered" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--adapters", "fish"], 2, "holds no task 'fish'"),
        (["--bundle", "none"], 1, "none: holds no manifest.json"),
        (["--port", "70000"], 2, "can't listen on"),
        (["--provider", "tpu"], 2, "provider 'tpu'"),
        (["--max-batch", "0"], 2, "max_batch is 0"),
    ],
)
def test_mistakes(atd: Atd, arguments: list[str], code: int, text: str) -> None:
    done = atd("serve", *arguments)
    assert done.code == code
    assert text in done.err
