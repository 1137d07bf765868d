"""Loading and unloading over gRPC, as any client does, and by NVIDIA's where it is installed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.serve.grpc.messages import message
from adaptertune_deploy.serve.grpc.methods import SERVICE
from adaptertune_deploy.serve.grpc.server import GrpcServer, admin_server
from adaptertune_deploy.serve.http.app import make_app
from adaptertune_deploy.serve.http.server import serving
from adaptertune_deploy.serve.sessions.opener import Opener
from adaptertune_deploy.serve.sessions.session import open_from
from adaptertune_deploy.serve.settings import Settings
from adaptertune_deploy.serve.tasks.bundle_source import BundleSource
from tests.builders import encode, make_backbone_spec, make_image, make_preprocess_spec, make_task, write_adapter
from tests.serve.fakes import SLOTS, WAIT_S, WIDTH, make_adapters, reference
from tests.serve.grpc.conftest import image_request, until
from tests.serve.tasks.bundles import FAKE, another, make_bundle, put

IMAGE = encode(make_image())
PIXELS = preprocess.preprocess(IMAGE, make_preprocess_spec())
TOKEN = (("authorization", "Bearer a token"),)


@dataclass(frozen=True)
class Running:
    """A server over a bundle that changes, asked on one port and changed on another."""

    public: str
    admin: str
    folder: Path

    def check(self, name: str, adapter: Adapter, version: int) -> None:
        """Assert that a task answers as its tensors say, and names its version."""
        with grpc.insecure_channel(self.public) as channel:
            stub = channel.unary_unary(f"/{SERVICE}/ModelInfer", None, message("ModelInferResponse").FromString)
            answer = stub(image_request(IMAGE, model=name), timeout=WAIT_S)
        assert answer.model_version == str(version)
        logits = np.frombuffer(answer.raw_output_contents[0], "<f4")
        np.testing.assert_allclose(logits, reference(PIXELS, adapter), rtol=1e-4, atol=1e-5)

    def change(self, method: str, **fields: Any) -> Any:
        with grpc.insecure_channel(self.admin) as channel:
            stub = channel.unary_unary(f"/{SERVICE}/{method}", None, message(f"{method}Response").FromString)
            return stub(message(f"{method}Request")(**fields).SerializeToString(), metadata=TOKEN, timeout=WAIT_S)

    def refusal(self, method: str, **fields: Any) -> tuple[grpc.StatusCode, str]:
        with pytest.raises(grpc.RpcError) as caught:
            self.change(method, **fields)
        return caught.value.code(), caught.value.details()


@pytest.fixture(params=["tcp", "unix"])
def running(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    folder, unix = make_bundle(tmp_path / "bundle", monkeypatch), tmp_path / "admin.sock"
    opener = Opener(folder, bundle.read_manifest(folder), FAKE)
    session = open_from(opener)
    app = make_app(session, Settings(), source=BundleSource(opener, session.form))
    public = GrpcServer(app.state.service, "127.0.0.1", 0)
    place = (str(unix), None) if request.param == "unix" else ("127.0.0.1", 0)
    admin = admin_server(app.state.service, *place, "a token")
    with serving(app, companions=[public, admin]) as url, httpx.Client(base_url=url, timeout=WAIT_S) as client:
        until(lambda: client.get("/v2/health/ready").status_code == 200)
        if request.param == "unix":
            assert unix.stat().st_mode & 0o777 == 0o600
        yield Running(public.where, admin.where, folder)
    assert not unix.exists()
    session.close()


def test_a_task_is_replaced_unloaded_and_loaded_again(running: Running) -> None:
    put(running.folder, another("pets"))
    running.check("pets", make_adapters()[0], 1)
    running.change("RepositoryModelLoad", model_name="pets")
    running.check("pets", another("pets"), 2)
    running.change("RepositoryModelUnload", model_name="pets", parameters={"unload_dependents": {"bool_param": True}})
    found = [(entry.name, entry.state, entry.reason) for entry in running.change("RepositoryIndex").models]
    assert found == [("digits", "READY", ""), ("flowers", "READY", ""), ("pets", "UNAVAILABLE", "unloaded")]
    assert [entry.name for entry in running.change("RepositoryIndex", ready=True).models] == ["digits", "flowers"]


def test_what_can_not_be_done_says_why(running: Running) -> None:
    load = "RepositoryModelLoad"
    code, text = running.refusal(load, model_name="pet")
    assert (code, text.split(",")[0]) == (grpc.StatusCode.NOT_FOUND, "failed to load 'pet'")
    record = put(running.folder, another("pets")).tasks[-1]
    (running.folder / record.file).write_bytes(b"damaged")
    code, text = running.refusal(load, model_name="pets")
    assert (code, text.startswith("failed to load 'pets': ")) == (grpc.StatusCode.INTERNAL, True)
    running.check("pets", make_adapters()[0], 1)
    for parameters, expected in (
        ({"config": {"string_param": "{}"}}, "failed to load 'pets', unknown parameter 'config'"),
        ({"file:x": {"string_param": "a"}}, "parameter 'file:x' must be a 'bytes_param'"),
        ({"file:x": {}}, "parameter 'file:x' must be a 'bytes_param'"),
        ({"file:../x": {"bytes_param": b"a"}}, "'../x' is no file of an adapter folder"),
        ({"ship": {"string_param": "adapter"}}, "of files that are sent"),
    ):
        code, text = running.refusal(load, model_name="pets", parameters=parameters)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert expected in text
    code, text = running.refusal("RepositoryModelUnload", model_name="pets", parameters={"x": {}})
    assert (code, text) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "failed to unload 'pets', unknown parameter 'x'",
    )


def test_nvidias_client_sends_loads_unloads_and_lists(running: Running, tmp_path: Path) -> None:
    triton: Any = pytest.importorskip("tritonclient.grpc", reason="tritonclient is not installed")
    headers = dict(TOKEN)
    task = make_task("trees", classes=4, rank=2)
    adapter = write_adapter(tmp_path / "trees", task, make_backbone_spec(width=WIDTH, depth=len(SLOTS)), seed=9)
    files = {f"file:{path.name}": path.read_bytes() for path in (tmp_path / "trees").iterdir() if path.is_file()}
    with triton.InferenceServerClient(running.admin) as client:
        client.load_model("trees", headers=headers, files=files)
        running.check("trees", adapter, 1)
        client.unload_model("pets", headers=headers)
        states = {entry.name: entry.state for entry in client.get_model_repository_index(headers=headers).models}
        assert states == {"digits": "READY", "flowers": "READY", "pets": "UNAVAILABLE", "trees": "READY"}
        client.load_model("pets", headers=headers)
        running.check("pets", make_adapters()[0], 1)
        assert client.get_server_metadata(headers=headers).extensions == ["model_repository"]
        with pytest.raises(triton.InferenceServerException, match=r"UNAUTHENTICATED\] send the server's token"):
            client.get_model_repository_index()


@pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
def test_the_tokens_scheme_is_in_any_case(running: Running, scheme: str) -> None:
    with grpc.insecure_channel(running.admin) as channel:
        stub = channel.unary_unary(f"/{SERVICE}/RepositoryIndex", None, message("RepositoryIndexResponse").FromString)
        found = stub(b"", metadata=[("authorization", f"{scheme} a token")], timeout=WAIT_S)
    assert {entry.name for entry in found.models} >= {"pets"}
