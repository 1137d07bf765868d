"""What paths there are, and that none of them leads to a file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.serve.conftest import Running
from tests.serve.http.raw_http import HEAD, Wire, ask, post
from tests.serve.http.swapping import TOKEN, swapping
from tests.serve.tasks.bundles import make_bundle

# Parts of the paths that openapi.json leaves out: what they answer is that they do nothing.
REFUSED = ("/repository/", "sharedmemory/")
ROUTES = {
    "/": {"GET"},
    "/docs": {"GET"},
    "/metrics": {"GET"},
    "/openapi.json": {"GET"},
    "/page/{file}": {"GET"},
    "/samples/{task}/{place}": {"GET"},
    "/v1/predict": {"POST"},
    "/v2": {"GET"},
    "/v2/health/live": {"GET"},
    "/v2/health/ready": {"GET"},
    "/v2/logging": {"GET", "POST"},
    "/v2/models": {"GET"},
    "/v2/models/{model}/trace/setting": {"GET", "POST"},
    "/v2/trace/setting": {"GET", "POST"},
    "/v2/models/stats": {"GET"},
    # Refused here; see serve/http/v2/repository.py.
    "/v2/repository/index": {"POST"},
    "/v2/repository/models/{model}/load": {"POST"},
    "/v2/repository/models/{model}/unload": {"POST"},
    # There is none; see serve/http/v2/shared_memory.py.
    **{
        f"/v2/{kind}sharedmemory{path}": {"GET" if path.endswith("status") else "POST"}
        for kind in ("system", "cuda")
        for path in (
            "/status",
            "/unregister",
            "/region/{region}/status",
            "/region/{region}/register",
            "/region/{region}/unregister",
        )
    },
    **{
        f"/v2/models/{{model}}{version}{path}": {"POST" if path == "/infer" else "GET"}
        for version in ("", "/versions/{version}")
        for path in ("", "/ready", "/config", "/stats", "/infer")
    },
}
NAMES = (
    b"../etc",
    b"a/../b",
    b"..%2f..%2fetc",
    b"%2e%2e/",
    b"%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    b"/etc/passwd",
    b"pets/",
    b"pets/../digits",
    b"%20..",
    b"..%20",
    b"%00",
    b"pets%00",
    b"a%0d%0ab",
    b"x" * 10_000,
    b"%20%20",
    b"p%C3%A9ts",
    b"%ed%a0%80",
    "p\u0435ts".encode().replace(b"\xd0\xb5", b"%D0%B5"),
    b"...",
    b"..my_model",
    b"model..1",
    b"pets%2Fversions%2F1",
)


@pytest.mark.case("C9", "every route that the server has", "those of the documentation; none that changes anything")
def test_there_are_no_routes_but_these(server: Running) -> None:
    listed = server.client.get("/").json()["endpoints"]
    assert sorted(ROUTES) == listed
    for path, methods in ROUTES.items():
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"):
            response = server.client.request(
                method, path.format(model="pets", version="1", file="page.css", task="pets", place="0", region="x")
            )
            assert (response.status_code == 405) == (method not in methods), (method, path)


class Watcher:
    """Notes which files are opened and which folders are listed, while it watches; a hook can't be taken away again."""

    def __init__(self) -> None:
        self.watching = False
        self.seen: list[tuple[str, object]] = []
        sys.addaudithook(self._hear)

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Watch for the length of a `with` block."""
        self.seen.clear()
        self.watching = True
        try:
            yield
        finally:
            self.watching = False

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.watching and event in (
            "open",
            "os.listdir",
            "os.scandir",
            "import",
            "subprocess.Popen",
            "shutil.copyfile",
        ):
            self.seen.append((event, arguments[0]))


@pytest.fixture(scope="module")
def watcher() -> Watcher:
    return Watcher()


@pytest.mark.case(
    "C8", "model names that climb, as they are and encoded, on every route", "400 or 404, and no file is opened"
)
@pytest.mark.parametrize("name", NAMES)
def test_a_strange_name_opens_no_file(server: Running, watcher: Watcher, name: bytes) -> None:
    close = b"Connection: close\r\n"
    requests = [
        b"GET /v2/models/%s%s HTTP/1.1\r\n%s%s\r\n" % (name, path, HEAD, close)
        for path in (b"", b"/ready", b"/config", b"/stats", b"/versions/1")
    ]
    requests += [b"GET /%s HTTP/1.1\r\n%s%s\r\n" % (path % name, HEAD, close) for path in (b"page/%s", b"samples/%s/0")]
    infer = post("/v2/models/NAME/infer", b"{}", close).replace(b"NAME", name)
    predict = post("/v1/predict?tasks=NAME", b"", close).replace(b"NAME", name)
    with Wire(server.port) as wire:  # what is loaded when it is first needed is loaded
        wire.send(predict).read_all()
    with watcher.watch():
        for request in (*requests, infer, predict):
            with Wire(server.port) as wire:
                status, document = wire.send(request).read_answer()
            assert (status in (400, 404)) or _is_a_model(name), (request[:60], status)
            if not _is_a_model(name):
                assert list(document) == ["error"]
    assert watcher.seen == []


def _is_a_model(name: bytes) -> bool:
    """Whether a path with this name means a model that there is: the slash is decoded before the path is read."""
    return name == b"pets%2Fversions%2F1"


@pytest.mark.case(
    "C8",
    "model names that climb, to the admin listener's load and unload",
    "400 or 404; no file beside the bundle's is opened",
)
def test_a_strange_name_loads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watcher: Watcher) -> None:
    folder = make_bundle(tmp_path, monkeypatch)
    close, token = b"Connection: close\r\n", f"Authorization: Bearer {TOKEN}\r\n".encode()
    with swapping(folder) as running:
        port = running.admin.base_url.port
        assert port is not None
        assert running.change("pets", "load").status_code == 200  # what is imported then is there from then on
        with watcher.watch():
            for name in NAMES:
                for verb in ("load", "unload"):
                    request = post(f"/v2/repository/models/NAME/{verb}", b"", close, token).replace(b"NAME", name)
                    (status,) = ask(port, request)
                    # As in Triton, what is not loaded can be unloaded.
                    assert status in ((400, 404) if verb == "load" else (200, 400, 404)), (name[:40], verb, status)
        assert all(Path(str(place)).is_relative_to(folder) for _, place in watcher.seen), watcher.seen
        assert {entry[0] for entry in running.index(ready=True)} == {"pets", "flowers", "digits"}
