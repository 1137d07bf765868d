from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.http.multipart import MAX_FIELD, MAX_FIELDS, Form, Upload, is_multipart, parse
from tests.serve.fakes import status_of

BOUNDARY = "multipart/form-data; boundary=xyz"


@pytest.mark.case("D12", "malformed forms", "400, nothing in the log")
def test_a_malformed_form_leaves_nothing_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(RequestError):
        parse(b"--b\r\nA b: c\r\n\r\n", "multipart/form-data; boundary=b", 3)
    assert caplog.text == ""


def form(*files: tuple[str, bytes]) -> tuple[bytes, str]:
    """Let httpx build a form."""
    request = httpx.Request("POST", "http://x/", files=[("image", file) for file in files])
    return request.read(), request.headers["content-type"]


def field(value: bytes, times: int = 1) -> bytes:
    return b'--xyz\r\nContent-Disposition: form-data; name="a"\r\n\r\n%b\r\n' % value * times + b"--xyz--\r\n"


def test_fields_come_with_their_names_in_order() -> None:
    request = httpx.Request(
        "POST", "http://x/", data={"tasks": "pets", "top_k": "\u00e9"}, files=[("image", ("a", b"1"))]
    )
    found = parse(request.read(), request.headers["content-type"], 5)
    assert found == Form((Upload("a", b"1"),), (("tasks", "pets"), ("top_k", "\u00e9")))


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=5))
def test_the_files_of_a_real_clients_form_come_back_in_order(contents: list[bytes]) -> None:
    body, content_type = form(*((f"{place}.png", data) for place, data in enumerate(contents)))
    uploads = tuple(Upload(f"{place}.png", data) for place, data in enumerate(contents))
    assert parse(body, content_type, 5) == Form(uploads)


def test_line_ends_and_boundary_look_alikes_in_the_data_survive() -> None:
    data = b"\r\n--xy\r\n--\r\n\r\r\n-"
    body = b'--xyz\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\n' + data + b"\r\n--xyz--\r\n"
    assert parse(body, BOUNDARY, 1) == Form((Upload("b", data),))


@pytest.mark.case("D12", "a file name that climbs", "never used as a path")
def test_a_file_name_is_only_a_name() -> None:
    body, content_type = form(("../../etc/" + "x" * 300, b"data"))
    (upload,) = parse(body, content_type, 1).uploads
    assert len(upload.name) == 255


@pytest.mark.case("D12", "more files than rows", "413 at the first one too many")
def test_too_many_files_are_refused() -> None:
    body, content_type = form(*[("a", b"1")] * 3)
    with pytest.raises(RequestError, match="more than 2 files") as caught:
        parse(body, content_type, 2)
    assert caught.value.status == 413


@pytest.mark.case("D12", "no boundary, a long one, a cut form, fields without a file", "400")
@pytest.mark.parametrize(
    ("body", "content_type", "message"),
    [
        (b"", "multipart/form-data", "boundary has 0 characters"),
        (b"", "multipart/form-data; boundary=" + "x" * 71, "boundary has 71 characters"),
        (b"", BOUNDARY, "ends before its closing boundary"),
        (b"no form", BOUNDARY, "not a valid multipart form"),
        (b'--xyz\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\ncut', BOUNDARY, "ends before"),
        (b'--xyz\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--xyz--\r\n', BOUNDARY, "holds no file"),
        (b"--xyz\r\nX-Other: 1\r\n\r\n1\r\n--xyz--\r\n", BOUNDARY, "neither a file name nor a field's name"),
        (field(b"\xff"), BOUNDARY, "field 'a' of the form is not valid UTF-8; an image needs a filename"),
        (
            field(b"x" * (MAX_FIELD + 1)),
            BOUNDARY,
            "field 'a' of the form has more than 4,096 bytes; an image needs a filename",
        ),
        (field(b"x", MAX_FIELDS + 1), BOUNDARY, "more than 16 fields"),
    ],
)
def test_what_is_no_form_of_files_is_refused(body: bytes, content_type: str, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        parse(body, content_type, 5)
    assert caught.value.status == 400


@pytest.mark.case("D12", "any bytes as a form", "400, 413 or read")
@given(st.binary(max_size=300))
def test_any_bytes_give_files_or_a_request_error(body: bytes) -> None:
    assert status_of(parse, body, BOUNDARY, 3) in (None, 400, 413)


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [("Multipart/Form-Data; boundary=x", True), ("application/x-www-form-urlencoded", False), ("", False)],
)
def test_forms_are_told_by_their_content_type(content_type: str, expected: bool) -> None:
    assert is_multipart(content_type) is expected
