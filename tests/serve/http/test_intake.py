"""Deadlines and bytes of requests, from their first byte on."""

from __future__ import annotations

import gzip
import json
import math
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.serve.http.intake import arrival, deadline_of
from adaptertune_deploy.serve.http.v2.infer_request import HEADER_LENGTH
from adaptertune_deploy.serve.settings import Settings
from adaptertune_deploy.serve.timing.deadline import Deadline
from tests.serve.conftest import Launcher, Running
from tests.serve.fakes import WAIT_S
from tests.serve.http.raw_http import HEAD, Wire
from tests.serve.http.test_body import make_request
from tests.serve.http.v2.test_endpoints import json_request

INFER = "/v2/models/pets/infer"
POST = b"POST /v2/models/pets/infer HTTP/1.1\r\n"


@pytest.mark.parametrize(
    ("text", "at"), [(None, 160.0), ("0.25", 100.25), ("5", 105.0), ("999999999", 160.0), ("0.000001", 100.000001)]
)
def test_a_deadline_counts_from_arrival_and_is_the_servers_at_latest(text: str | None, at: float) -> None:
    request = make_request([], {} if text is None else {"x-request-timeout": text})
    assert deadline_of(request, 100.0, 60.0) == Deadline(at)


@pytest.mark.case("A2", "`X-Request-Timeout` that is no number of seconds", "400")
@pytest.mark.parametrize("text", ["", "0", "-1", "1e3", "abc", "nan", "inf", "9" * 5000, "1.", "\u0663", "5 s"])
def test_a_deadline_that_is_no_number_of_seconds_is_refused(text: str) -> None:
    request = make_request([])
    request._headers = {"X-Request-Timeout": text}  # type: ignore[assignment]
    with pytest.raises(RequestError, match=r"expected seconds, such as 0\.25"):
        deadline_of(request, 100.0, 60.0)


def test_the_connection_knows_when_a_request_arrived() -> None:
    request = make_request([])
    assert not math.isnan(arrival(request))
    request.scope["state"] = {"arrived": 17.0}
    assert arrival(request) == 17.0


@pytest.mark.case("A2", "a deadline while the body comes", "504, counted")
def test_a_deadline_holds_while_the_body_is_read(launch: Launcher) -> None:
    running = launch()
    with Wire(running.port) as wire:
        wire.send(POST, HEAD, b"X-Request-Timeout: 0.05\r\nContent-Length: 100\r\n\r\nhalf")
        status, document = wire.read_answer()
    assert (status, document) == (504, {"error": TOO_LATE.format("read")})
    assert failures(running) == {"OTHER": 0, "BACKEND": 0, "CANCELED": 0, "REJECTED": 1}


TOO_LATE = "Request timeout expired: the deadline passed while the request was {}"


@pytest.mark.case("A2", "a deadline while every decoder is busy", "504 at the deadline")
def test_a_deadline_in_the_request_holds_while_every_decoder_is_busy(
    launch: Launcher, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands in the JSON, which is read beside the images of others and not behind them."""
    running = launch(settings=Settings(decode_threads=1))
    gate, begun, decode = threading.Event(), threading.Event(), preprocess.decode

    def waiting(*arguments: object, **options: object) -> Image.Image:
        begun.set()
        gate.wait(WAIT_S)
        return decode(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(preprocess, "decode", waiting)
    with ThreadPoolExecutor(1) as threads:
        held = threads.submit(running.client.post, INFER, json=json_request(png))
        assert begun.wait(WAIT_S)
        large = json_request(png, parameters={"timeout": 50_000, "note": ["x" * 90] * 30}, more="y" * 100_000)
        late = running.client.post(INFER, json=large)
        assert (late.status_code, "decoded" in late.json()["error"]) == (504, True)
        assert not held.done()
        gate.set()
        assert held.result().status_code == 200


@pytest.mark.case("C7", "bodies of many requests at once", "503, others answered, all given back")
def test_bodies_share_a_budget(launch: Launcher) -> None:
    running = launch(settings=Settings(bytes_limit=100_000))
    with Wire(running.port) as first:
        first.send(POST, HEAD, b"Content-Length: 70000\r\n\r\n", b"x" * 60_000)
        while running.service.bytes.used < 60_000:
            pass
        refused = running.client.post(INFER, content=b"y" * 50_000)
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        assert "of 100,000 bytes of bodies are taken" in refused.json()["error"]
        assert running.client.post(INFER, content=b"y" * 20_000).status_code == 400
        assert running.client.get("/v2/health/live").status_code == 200
    while running.service.bytes.used:
        pass
    assert running.client.post(INFER, content=b"y" * 90_000).status_code == 400


@pytest.mark.case("C6", "compressed bodies of many requests at once", "503")
def test_what_a_body_unpacks_to_counts_too(launch: Launcher) -> None:
    running = launch(settings=Settings(bytes_limit=100_000))
    packed = gzip.compress(b" " * 200_000)
    response = running.client.post(INFER, content=packed, headers={"Content-Encoding": "gzip"})
    assert response.status_code == 503
    assert running.service.bytes.used == 0


@pytest.mark.case("C6", "19 kB of gzip that hold millions of JSON values", "400")
def test_json_of_millions_of_values_is_refused(server: Running) -> None:
    packed = gzip.compress(b'{"inputs":[],"x":[' + b"[]," * 6_000_000 + b"[]]}")
    assert len(packed) < 30_000
    response = server.client.post(INFER, content=packed, headers={"Content-Encoding": "gzip"})
    assert response.status_code == 400
    assert response.json()["error"].startswith("the request's JSON holds more than 100,000 values")


@pytest.mark.case("C4", "`Inference-Header-Content-Length` of thousands of digits or zeros", "400")
@pytest.mark.parametrize("length", ["0" * 5000, "0" * 25 + "9999999", "00000000000000000000099"])
def test_a_header_that_is_no_sensible_number_is_a_mistake_of_the_clients(server: Running, length: str) -> None:
    response = server.client.post(INFER, content=b"x", headers={HEADER_LENGTH: length})
    assert response.status_code == 400
    assert "inference header size should be in range (0, 1)" in response.json()["error"]


def test_a_body_of_which_one_line_says_that_it_is_packed_is_unpacked(server: Running, png: bytes) -> None:
    half = len(png) // 2
    packed = gzip.compress(png[:half]) + gzip.compress(png[half:])
    lines = [("Content-Encoding", "identity"), ("Content-Encoding", "gzip"), *[(HEADER_LENGTH, "0")] * 2]
    assert server.client.post(INFER, content=packed, headers=lines).status_code == 200


@pytest.mark.case("C4", "two unequal `Inference-Header-Content-Length`", "400, counted as the task's failure")
def test_lengths_that_differ_are_refused(launch: Launcher, png: bytes) -> None:
    running = launch()
    response = running.client.post(INFER, content=png, headers=[(HEADER_LENGTH, "0"), (HEADER_LENGTH, "1")])
    assert response.status_code == 400
    assert response.json()["error"].endswith("got: 0, 1")
    assert failures(running)["OTHER"] == 1


@pytest.mark.case("C10", "requests that fail before anything is decoded", "counted as failures of their task")
@pytest.mark.parametrize(
    ("content", "headers", "reason"),
    [
        (b"{not json", {}, "OTHER"),
        (b"x" * 20_000_001, {}, "OTHER"),
        (b"x", {"Content-Encoding": "br"}, "OTHER"),
        (json.dumps({"inputs": []}).encode(), {"X-Request-Timeout": "soon"}, "OTHER"),
    ],
)
def test_what_fails_before_it_is_decoded_is_counted(
    launch: Launcher, content: bytes, headers: dict[str, str], reason: str
) -> None:
    running = launch()
    assert running.client.post(INFER, content=content, headers=headers).status_code in (400, 413, 415)
    assert failures(running) == {"OTHER": 0, "BACKEND": 0, "CANCELED": 0, "REJECTED": 0, reason: 1}


@pytest.mark.case("A3", "a client leaves while it uploads", "counted, its bytes given back")
def test_an_upload_that_is_given_up_is_counted(launch: Launcher) -> None:
    running = launch()
    with Wire(running.port) as wire:
        wire.send(POST, HEAD, b"Content-Length: 100\r\n\r\nhalf")
        while not running.service.bytes.used:
            pass
    while not failures(running)["CANCELED"]:
        pass


def failures(running: Running) -> dict[str, int]:
    return running.service.statistics.tasks["pets", 1].failures
