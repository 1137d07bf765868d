from __future__ import annotations

import gzip
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest

from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.serve.offline.classify import classify
from adaptertune_deploy.serve.settings import Settings
from tests.builders import encode, make_image
from tests.serve.conftest import Launcher, Running
from tests.serve.fakes import WAIT_S, asked, make_shared

UNKNOWN = "the data is not a JPEG, PNG, WebP, BMP or GIF image"
ELSEWHERE = "JSON is answered at /v2/models/TASK/infer; here send the image's bytes (curl --data-binary @cat.jpg)"


def expect_labels(answers: dict[str, list[dict[str, object]]], image: bytes, tasks: list[str], top_k: int) -> None:
    """Compare a served image with the offline answer."""
    offline = classify(make_shared(), [image], tasks, top_k)
    assert list(answers) == tasks
    for answer in offline:
        served = answers[answer.task]
        assert [(item["label"], item["index"]) for item in served] == [
            (label.label, label.index) for label in answer.top
        ]
        probabilities = [item["probability"] for item in served]
        np.testing.assert_allclose(probabilities, [label.probability for label in answer.top], atol=1e-5)  # type: ignore[arg-type]


def test_one_raw_image_for_two_tasks(server: Running, png: bytes) -> None:
    response = server.client.post("/v1/predict", params={"tasks": "flowers,pets", "top_k": "2"}, content=png)
    assert response.status_code == 200
    document = response.json()
    (image,) = document["images"]
    assert image["image"] == 0
    assert "name" not in image
    expect_labels(image["tasks"], png, ["flowers", "pets"], 2)
    latency = document["latency_ms"]
    assert list(latency) == ["read", "preprocess", "queue", "infer", "total"]
    assert min(latency.values()) >= 0
    assert latency["total"] >= sum(latency.values()) - latency["total"] - 0.01
    assert document["batch"] == {"rows": 2, "images": 1, "tasks": 2}


def test_several_files_for_every_task(server: Running) -> None:
    images = [encode(make_image(seed=seed), kind) for seed, kind in enumerate(("PNG", "JPEG", "GIF"))]
    files = [("image", (f"{place}.bin", data)) for place, data in enumerate(images)]
    response = server.client.post("/v1/predict", files=files)
    assert response.status_code == 200
    for place, (found, data) in enumerate(zip(response.json()["images"], images, strict=True)):
        assert (found["image"], found["name"]) == (place, f"{place}.bin")
        expect_labels(found["tasks"], data, ["pets", "flowers", "digits"], 5)


@pytest.mark.case("D10", "a Content-Type that names something else", "told by its first bytes alone")
@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "image/jpeg", "text/plain"])
def test_the_content_type_of_a_raw_image_does_not_matter(server: Running, png: bytes, content_type: str) -> None:
    response = server.client.post("/v1/predict?tasks=pets", content=png, headers={"Content-Type": content_type})
    assert response.status_code == 200


def test_a_compressed_body_is_taken(server: Running, png: bytes) -> None:
    plain = server.client.post("/v1/predict?tasks=pets", content=png).json()
    packed = server.client.post(
        "/v1/predict?tasks=pets", content=gzip.compress(png), headers={"Content-Encoding": "gzip"}
    ).json()
    assert plain["images"] == packed["images"]


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("tasks=pet", 404, "no task 'pet', only pets, flowers, digits. Did you mean 'pets'?"),
        ("tasks=", 404, "no task '', only pets, flowers, digits."),
        ("tasks=pets,pets", 400, "parameter 'tasks' names a task twice; name each once"),
        ("task=pets", 400, "unknown parameter 'task', only tasks, top_k. Did you mean 'tasks'?"),
        ("tasks=pets&tasks=digits", 400, "parameter 'tasks' is given twice; give it once"),
        ("top_k=0", 400, "parameter 'top_k' is '0', expected a whole number from 1"),
        ("top_k=-1", 400, "parameter 'top_k' is '-1', expected a whole number from 1"),
        ("top_k=%D9%A3", 400, "parameter 'top_k' is '\u0663', expected a whole number from 1"),
        ("top_k=99999999999", 400, "parameter 'top_k' is '99999999999', expected a whole number from 1"),
    ],
)
def test_a_wrong_question_is_refused_in_one_line(server: Running, query: str, status: int, message: str) -> None:
    response = server.client.post(f"/v1/predict?{query}", content=b"")
    assert (response.status_code, response.json()) == (status, {"error": message})


@pytest.mark.case(
    "D2", "text, PDF, a bare JPEG signature in place of an image", "400 or 415, the next answer is the same"
)
@pytest.mark.parametrize("body", [b"", b"text", b"\xff\xd8\xff\xe0", b"http://169.254.169.254/", b"%PDF-1.7"])
def test_what_is_no_image_is_refused_and_harms_nobody(server: Running, png: bytes, body: bytes) -> None:
    before = server.client.post("/v1/predict", content=png).json()["images"]
    response = server.client.post("/v1/predict", content=body)
    assert response.status_code in (400, 415)
    assert list(response.json()) == ["error"]
    assert server.client.get("/v2/health/live").status_code == 200
    assert server.client.post("/v1/predict", content=png).json()["images"] == before


@pytest.mark.parametrize(
    ("content_type", "body", "message"),
    [
        ("application/json; charset=utf-8", b'{"images":["aaaa"]}', f"{UNKNOWN}; {ELSEWHERE}"),
        ("application/json", encode(make_image())[:200], "the image is truncated or damaged; send it again in full"),
        (
            "application/x-www-form-urlencoded",
            encode(make_image(), "JPEG").translate(None, b"\r\n\0"),
            "the image's header is damaged; curl -d changes the bytes; use --data-binary",
        ),
        (
            "application/x-www-form-urlencoded",  # which curl --data-binary sends too
            encode(make_image())[:200],
            "the image is truncated or damaged; send it again in full",
        ),
        ("image/png", b"no image", UNKNOWN),
    ],
)
def test_who_sends_something_else_is_told_what_to_send(
    server: Running, content_type: str, body: bytes, message: str
) -> None:
    answer = server.client.post("/v1/predict?tasks=pets", content=body, headers={"Content-Type": content_type})
    assert answer.json()["error"] == message
    assert answer.status_code == (415 if message.startswith(UNKNOWN) else 400)


@pytest.mark.case("D12", "one cut image among several files", "400 that names its place")
def test_one_bad_image_refuses_its_request_by_place(server: Running, png: bytes) -> None:
    response = server.client.post("/v1/predict", files=[("a", ("a", png)), ("b", ("b", png[:60]))])
    assert response.status_code == 400
    assert response.json()["error"].startswith("image 2 of 2: ")


def test_a_form_may_say_what_is_asked(server: Running, png: bytes) -> None:
    file = [("image", ("a.png", png))]
    by_url = server.client.post("/v1/predict?tasks=digits,pets&top_k=1", files=file).json()
    by_form = server.client.post("/v1/predict", data={"tasks": "digits,pets", "top_k": "1"}, files=file).json()
    both = server.client.post("/v1/predict?top_k=1", data={"tasks": "digits,pets"}, files=file).json()
    assert by_form["images"] == both["images"] == by_url["images"]
    assert list(by_form["images"][0]["tasks"]) == ["digits", "pets"]


@pytest.mark.parametrize(
    ("query", "fields", "status", "message"),
    [
        ("tasks=pets", {"tasks": "pets"}, 400, "parameter 'tasks' is given twice; give it once"),
        ("", {"tasks": "pet"}, 404, "no task 'pet', only pets, flowers, digits. Did you mean 'pets'?"),
        ("", {"task": "pets"}, 400, "unknown parameter 'task', only tasks, top_k. Did you mean 'tasks'?"),
        ("", {"top_k": "x"}, 400, "parameter 'top_k' is 'x', expected a whole number from 1"),
    ],
)
def test_a_wrong_form_is_refused_in_one_line(
    server: Running, png: bytes, query: str, fields: dict[str, str], status: int, message: str
) -> None:
    response = server.client.post(f"/v1/predict?{query}", data=fields, files=[("image", ("a", png))])
    assert (response.status_code, response.json()) == (status, {"error": message})


def test_a_form_about_a_task_that_there_is_not_is_no_tasks_failure(launch: Launcher, png: bytes) -> None:
    running = launch()
    files = [("image", ("a", png))]
    assert running.client.post("/v1/predict", data={"tasks": "cars"}, files=files).status_code == 404
    assert running.client.post("/v1/predict", data={"tasks": "pets", "top_k": "x"}, files=files).status_code == 400
    counted = [sum(entry.failures.values()) for entry in running.service.statistics.tasks.values()]
    assert counted == [1, 1, 1]  # the second asked for every task until its form was read


def test_a_form_that_asks_one_task_needs_no_room_for_others(launch: Launcher, png: bytes) -> None:
    running = launch(settings=Settings(max_batch=1, max_request_rows=2, task_queue_limit=2))
    running.engine.gate.clear()
    files = [("image", ("a", png))] * 2
    with ThreadPoolExecutor(2) as threads:
        full = threads.submit(running.client.post, "/v1/predict?tasks=pets", files=files)
        running.engine.wait_entered()
        other = threads.submit(running.client.post, "/v1/predict", data={"tasks": "digits"}, files=files)
        while running.service.batcher.admitted < 4:
            pass
        running.engine.gate.set()
        assert [answer.result().status_code for answer in (full, other)] == [200, 200]


def test_too_many_rows_are_refused(server: Running, png: bytes) -> None:
    response = server.client.post("/v1/predict", files=[("a", ("a", png))] * 22)
    assert response.status_code == 413
    assert "22 images for 3 tasks are 66 rows, at most 64" in response.json()["error"]


@pytest.mark.case("C7", "a body over the limit, with its length or in chunks", "413 before it is read")
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_refused(launch: Launcher, png: bytes, chunked: bool) -> None:
    running = launch(settings=Settings(body_limit=10_000))
    body = bytes(300_000)
    response = running.client.post("/v1/predict", content=iter([body[:50_000]] * 6) if chunked else body)
    assert response.status_code == 413
    assert response.json()["error"].startswith("the body is larger than 10,000 bytes")
    assert running.client.post("/v1/predict", content=png).status_code == 200


def test_requests_of_different_tasks_ride_in_one_engine_run(launch: Launcher, png: bytes) -> None:
    running = launch()
    running.engine.gate.clear()
    with ThreadPoolExecutor(5) as threads:

        def ask(task: str) -> httpx.Response:
            return httpx.post(f"{running.url}/v1/predict?tasks={task}", content=png, timeout=WAIT_S)

        first = threads.submit(ask, "pets")
        running.engine.wait_entered()
        waiting = [threads.submit(ask, task) for task in ("digits", "flowers", "pets")]
        while running.service.statistics.tasks["pets", 1].pending < 2 or len(queued(running)) < 3:
            assert not first.done()
        running.engine.gate.set()
        batches = [future.result().json()["batch"] for future in waiting]
    assert first.result().json()["batch"] == {"rows": 1, "images": 1, "tasks": 1}
    assert batches == [{"rows": 3, "images": 3, "tasks": 3}] * 3
    assert [sorted(asked(call)) for call in running.engine.calls] == [[0], [0, 1, 2]]


def test_bad_input_waits_with_good_and_harms_no_other_row(launch: Launcher, png: bytes) -> None:
    running = launch()
    expected = running.client.post("/v1/predict", content=png).json()["images"]
    running.engine.forget()
    running.engine.gate.clear()
    with ThreadPoolExecutor(5) as threads:
        held = threads.submit(running.client.post, "/v1/predict", content=png)
        running.engine.wait_entered()
        good = [threads.submit(running.client.post, "/v1/predict", content=png) for _ in range(2)]
        bad = running.client.post("/v1/predict", content=png[:100])
        running.engine.gate.set()
        assert bad.status_code == 400
        for future in (held, *good):
            assert future.result().json()["images"] == expected


@pytest.mark.case("A1", "more requests than the queue takes", "503 with Retry-After at once, the others answered")
def test_a_full_queue_answers_503_at_once(launch: Launcher, png: bytes) -> None:
    running = launch(settings=Settings(max_batch=1, max_request_rows=2, queue_limit=2))
    running.engine.gate.clear()
    with ThreadPoolExecutor(2) as threads:
        held = threads.submit(running.client.post, "/v1/predict?tasks=pets,digits", content=png)
        running.engine.wait_entered()
        refused = running.client.post("/v1/predict?tasks=pets", content=png)
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["error"].startswith("Exceeds maximum queue size")
        assert running.service.statistics.tasks["pets", 1].failures["REJECTED"] == 1
        running.engine.gate.set()
        assert held.result().status_code == 200


@pytest.mark.case("C11", "an engine error that names files and addresses", "500 that tells nothing of the inside")
def test_an_engine_failure_tells_nothing_of_the_inside(
    launch: Launcher, png: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    running = launch()
    running.engine.error = RuntimeError("<Session object at 0x7f1122334455> /opt/secret/model.onnx")
    response = running.client.post("/v1/predict", content=png)
    assert response.status_code == 500
    assert response.json() == {"error": "the engine failed on the batch of this request; send it again"}
    running.engine.error = None
    assert running.client.post("/v1/predict", content=png).status_code == 200


@pytest.mark.case("B13", "an engine that gives NaN for one task", "500 for that task, counted, others answered")
def test_nan_is_answered_with_500_and_counted(launch: Launcher, png: bytes) -> None:
    running = launch()
    running.engine.poison = frozenset({1})
    assert running.client.post("/v1/predict?tasks=pets", content=png).status_code == 200
    response = running.client.post("/v1/predict", content=png)
    assert response.status_code == 500
    assert "task 'flowers' gave logits that are NaN or infinite" in response.json()["error"]
    assert 'atd_nonfinite_rows_total{task="flowers"} 1.0' in running.client.get("/metrics").text


@pytest.mark.case("A3", "a client leaves while its request waits", "out of the queue, counted, never run")
def test_a_client_that_leaves_is_taken_out_of_the_queue(launch: Launcher, png: bytes) -> None:
    running = launch()
    running.engine.gate.clear()
    with ThreadPoolExecutor(2) as threads:
        held = threads.submit(running.client.post, "/v1/predict?tasks=pets", content=png)
        running.engine.wait_entered()
        hasty = httpx.Timeout(WAIT_S, read=0.05)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{running.url}/v1/predict?tasks=digits", content=png, timeout=hasty)
        while running.service.statistics.tasks["digits", 1].failures["CANCELED"] == 0:
            assert not held.done()
        running.engine.gate.set()
        assert held.result().status_code == 200
    assert running.client.post("/v1/predict?tasks=flowers", content=png).status_code == 200
    assert [asked(call) for call in running.engine.calls] == [[0], [1]]


@pytest.mark.case("D13", "every decoder is busy", "health answers")
def test_health_answers_while_images_are_decoded(launch: Launcher, png: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    running = launch()
    decoding, gate, decode = threading.Semaphore(0), threading.Event(), preprocess.decode

    def slow(*arguments: object, **options: object) -> object:
        decoding.release()
        assert gate.wait(WAIT_S)
        return decode(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(preprocess, "decode", slow)
    with ThreadPoolExecutor(8) as threads:
        busy = [threads.submit(running.client.post, "/v1/predict", content=png) for _ in range(8)]
        for _ in range(2):
            assert decoding.acquire(timeout=WAIT_S)
        assert running.client.get("/v2/health/live").status_code == 200
        assert running.client.get("/v2/health/ready").status_code == 200
        gate.set()
        assert [future.result().status_code for future in busy] == [200] * 8


def queued(running: Running) -> list[object]:
    """Return the requests that wait in the batcher."""
    return list(running.service.batcher._queue.jobs())
