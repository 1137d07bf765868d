"""The same requests to NVIDIA's tritonserver and to this one: what one answers the other answers, byte for byte."""

from __future__ import annotations

import gzip
import json
import random
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.serve.conftest import Running
from tests.serve.http.golden_server import FOLDER, Content, golden_server
from tests.serve.http.test_golden import parts
from tests.tritonserver import make_backends, tritonserver

COUNT = 600
HEADER_LENGTH = "Inference-Header-Content-Length"
VALUES = (0, 1, -1, 2.5, 1e-7, -3.25, 9999.5, 4)


@dataclass
class Request:
    """A request that both servers get, and what was done to it."""

    path: str
    document: Any
    tensors: bytes = b""
    binary: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    changes: list[str] = field(default_factory=list)

    def body(self) -> bytes:
        text = json.dumps(self.document).encode()
        whole = text + self.tensors
        if self.binary:
            self.headers.setdefault(HEADER_LENGTH, str(len(text)))
        packing = {"gzip": gzip.compress, "deflate": zlib.compress}.get(self.headers.get("Content-Encoding", ""))
        return packing(whole) if packing else whole


def right(chance: random.Random) -> Request:
    """Return a request that is answered with 200."""
    rows = chance.randint(1, 8)
    outputs: list[dict[str, Any]] = []
    if chance.random() < 0.6:
        parameters: dict[str, Any] = {}
        if chance.random() < 0.5:
            parameters["classification"] = chance.randint(0, 6)
        if chance.random() < 0.5:
            parameters["binary_data"] = chance.random() < 0.5
        outputs.append({"parameters": parameters} if parameters or chance.random() < 0.5 else {})
    document: dict[str, Any] = {}
    if chance.random() < 0.3:
        document["id"] = chance.choice(["", "7", "a b", "\u00e9"])
    if chance.random() < 0.4:
        document["parameters"] = chance.choice(
            [{}, {"binary_data_output": True}, {"mine": 1}, {"priority": 0}, {"binary_data_output": False, "x": "y"}]
        )
    request = _numbers(chance, rows, document) if chance.random() < 0.7 else _bytes(chance, rows, document)
    name = "OUTPUT0" if "ident" in request.path else "logits"
    if outputs:
        document["outputs"] = [{"name": name, **outputs[0]}]
        if document.get("parameters", {}).get("binary_data_output"):  # see test_the_requests_wish_holds_for_outputs
            document["outputs"][0].setdefault("parameters", {}).setdefault("binary_data", True)
    if chance.random() < 0.2:
        request.headers["Content-Encoding"] = chance.choice(["gzip", "deflate"])
    if chance.random() < 0.1:
        request.path = request.path.replace("/infer", "/versions/1/infer")
    return request


def _numbers(chance: random.Random, rows: int, document: dict[str, Any]) -> Request:
    values = [[chance.choice(VALUES) for _ in range(4)] for _ in range(rows)]
    entry: dict[str, Any] = {"name": "INPUT0", "shape": [rows, 4], "datatype": "FP32"}
    request = Request("/v2/models/ident/infer", document)
    if chance.random() < 0.5:
        request.binary = True
        request.tensors = b"".join(struct.pack("<4f", *row) for row in values)
        entry["parameters"] = {"binary_data_size": len(request.tensors)}
    else:
        entry["data"] = values if chance.random() < 0.5 else [value for row in values for value in row]
    document["inputs"] = [entry]
    return request


def _bytes(chance: random.Random, rows: int, document: dict[str, Any]) -> Request:
    elements = [bytes(chance.randrange(256) for _ in range(chance.randint(1, 40))) for _ in range(rows)]
    tensors = b"".join(struct.pack("<I", len(element)) + element for element in elements)
    entry = {"name": "image", "shape": [rows, 1], "datatype": "BYTES", "parameters": {"binary_data_size": len(tensors)}}
    document["inputs"] = [entry]
    return Request("/v2/models/img/infer", document, tensors, binary=True)


def wrong(chance: random.Random) -> Request:
    """Return a request with a fault."""
    request = right(chance)
    request.headers.pop("Content-Encoding", None)
    name, change = chance.choice(list(CHANGES.items()))
    change(request, request.document["inputs"][0])
    request.changes.append(name)
    return request


def _cut(request: Request, entry: dict[str, Any]) -> None:
    if request.tensors:
        request.tensors = request.tensors[:-1]
    else:
        entry["data"] = entry["data"][:-1]


def _longer(request: Request, entry: dict[str, Any]) -> None:
    request.tensors += b"xx"
    if "data" in entry:
        entry["data"] = [*entry["data"], entry["data"][-1]]
        request.tensors = b""


CHANGES = {
    "fewer values": _cut,
    "more values": _longer,
    "another input": lambda request, entry: entry.update(name="WRONG"),
    "no name": lambda request, entry: entry.pop("name"),
    "no shape": lambda request, entry: entry.pop("shape"),
    "no datatype": lambda request, entry: entry.pop("datatype"),
    "another datatype": lambda request, entry: entry.update(datatype="INT64"),
    "no such datatype": lambda request, entry: entry.update(datatype="FLOAT"),
    "another rank": lambda request, entry: entry.update(shape=[*entry["shape"], 1]),
    "a large batch": lambda request, entry: entry.update(shape=[9, *entry["shape"][1:]]),
    "a negative batch": lambda request, entry: entry.update(shape=[-1, *entry["shape"][1:]]),
    "a text as shape": lambda request, entry: entry.update(shape="1"),
    "no inputs": lambda request, entry: request.document.pop("inputs"),
    "an empty list of inputs": lambda request, entry: request.document.update(inputs=[]),
    "an input twice": lambda request, entry: request.document.update(inputs=[entry, entry]),
    "another output": lambda request, entry: request.document.update(outputs=[{"name": "WRONG"}]),
    "a negative classification": lambda request, entry: request.document.update(
        outputs=[{"name": "OUTPUT0", "parameters": {"classification": -1}}]
    ),
    "a reserved parameter": lambda request, entry: request.document.update(parameters={"triton_x": 1}),
    "another model": lambda request, entry: setattr(request, "path", "/v2/models/none/infer"),
    "another version": lambda request, entry: setattr(request, "path", "/v2/models/img/versions/7/infer"),
    "a long head": lambda request, entry: request.headers.update({HEADER_LENGTH: "99999"}),
    "a negative head": lambda request, entry: request.headers.update({HEADER_LENGTH: "-1"}),
    "parameters that are a list": lambda request, entry: request.document.update(parameters=[]),
    "an id that is a number": lambda request, entry: request.document.update(id=7),
    "a timeout that is a text": lambda request, entry: request.document.update(parameters={"timeout": "soon"}),
}


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("golden")
    backends = make_backends(tmp_path_factory.mktemp("backends"))
    models = [f"--load-model={name}" for name in ("ident", "img")]
    words = ["--model-control-mode=explicit", *models]
    with (
        tritonserver(backends, [FOLDER / "models"], folder / "log", *words) as address,
        httpx.Client(base_url=f"http://{address}", timeout=60) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def ours() -> Iterator[Running]:
    with golden_server() as (running, _):
        yield running


def ask(client: httpx.Client, request: Request) -> tuple[int, Any, bytes]:
    body = request.body()
    response = client.post(request.path, content=body, headers={"Accept-Encoding": "identity", **request.headers})
    document, raw = parts(Content({name.lower(): value for name, value in response.headers.items()}, response.content))
    return response.status_code, document, raw


def test_what_triton_answers_is_answered_byte_for_byte(triton: httpx.Client, ours: Running) -> None:
    chance, kinds = random.Random(0), Counter[str]()
    for _ in range(COUNT):
        request = right(chance)
        theirs, own = ask(triton, request), ask(ours.client, request)
        assert theirs[0] == 200, (request, theirs)
        assert own == theirs, request
        kinds[request.path] += 1
    assert min(kinds.values()) > COUNT // 50


def test_what_triton_refuses_is_refused_as_the_clients_fault(triton: httpx.Client, ours: Running) -> None:
    chance, seen = random.Random(1), set()
    for _ in range(COUNT):
        request = wrong(chance)
        theirs, own = ask(triton, request), ask(ours.client, request)
        assert theirs[0] >= 400, (request, theirs)
        assert own[0] == (404 if theirs[0] == 404 else 400), (request, own, theirs)
        assert list(own[1]) == ["error"]
        seen |= set(request.changes)
    assert seen == set(CHANGES)


def test_the_requests_wish_holds_for_outputs_that_say_nothing(triton: httpx.Client, ours: Running) -> None:
    """A difference on purpose: the extension's page says so, and Triton asks for such outputs in JSON."""
    entry = {"name": "INPUT0", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
    document = {"inputs": [entry], "outputs": [{"name": "OUTPUT0"}], "parameters": {"binary_data_output": True}}
    tensors = [ask(client, Request("/v2/models/ident/infer", document))[2] for client in (triton, ours.client)]
    assert tensors == [b"", struct.pack("<4f", 1, 2, 3, 4)]
