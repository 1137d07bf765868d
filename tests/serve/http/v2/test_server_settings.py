from __future__ import annotations

from typing import Any

import pytest

from tests.serve.conftest import Running

LOGGING, TRACING = "/v2/logging", "/v2/trace/setting"


def test_settings_can_be_read_and_set_to_what_they_are(server: Running) -> None:
    for path, name, value in [(LOGGING, "log_error", True), (TRACING, "trace_level", ["OFF"])]:
        found = server.client.get(path).json()
        assert found[name] == value
        for body in ({}, {name: value}, {name: None}):
            assert server.client.post(path, json=body).json() == found
        assert server.client.post(path).json() == found
    assert server.client.get("/v2/models/pets__tensor/trace/setting").json() == found


@pytest.mark.parametrize(
    ("path", "content", "status", "text"),
    [
        (LOGGING, b'{"log_error": false}', 403, "setting 'log_error' is fixed"),
        (TRACING, b'{"trace_level": ["TIMESTAMPS"]}', 403, "setting 'trace_level' is fixed"),
        (TRACING, b'{"nothing": 1}', 400, "unknown setting 'nothing'"),
        (LOGGING, b"[]", 400, "must be a JSON object"),
        (LOGGING, b"{", 400, "failed to parse"),
        (LOGGING, b" " * 5000, 413, "larger than 4,096 bytes"),
        ("/v2/models/nope/trace/setting", b"{}", 404, "'nope' is not found"),
    ],
)
def test_what_is_no_setting_of_this_server_is_refused(
    server: Running, path: str, content: bytes, status: int, text: str
) -> None:
    response: Any = server.client.post(path, content=content)
    assert response.status_code == status
    assert text in response.json()["error"]
