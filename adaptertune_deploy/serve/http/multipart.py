"""The files and fields of a multipart/form-data body (RFC 7578), taken apart in memory: nothing touches a disk."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from adaptertune_deploy.core.errors import RequestError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

# It writes a line of log for every malformed form, as many as a client likes.
logging.getLogger("python_multipart").setLevel(logging.ERROR)
MAX_BOUNDARY = 70  # RFC 2046, section 5.1.1
MAX_NAME = 255
MAX_FIELDS = 16
MAX_FIELD = 4096  # bytes of one
A_FILE = "an image needs a filename (curl -F a=@cat.jpg)"


@dataclass(frozen=True)
class Upload:
    """One file of a form.

    name: the file name that the client gave, cut to 255 characters; never used as a path.
    data: its bytes.
    """

    name: str
    data: bytes


@dataclass(frozen=True)
class Form:
    """What a form holds.

    uploads: its files, in order.
    fields: the name and the text of every other part, in order.
    """

    uploads: tuple[Upload, ...]
    fields: tuple[tuple[str, str], ...] = ()


@dataclass
class _Collector:
    """Gathers what the parser calls out; a part without any name is refused, so is one file or field too many."""

    limit: int
    uploads: list[Upload] = field(default_factory=list)
    fields: list[tuple[str, str]] = field(default_factory=list)
    complete: bool = False
    _header: bytearray = field(default_factory=bytearray)
    _value: bytearray = field(default_factory=bytearray)
    _data: bytearray = field(default_factory=bytearray)
    _disposition: bytes = b""

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._on_part_begin,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_part_data": self._on_part_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }

    def _on_part_begin(self) -> None:
        if len(self.uploads) == self.limit:
            raise RequestError(f"the form holds more than {self.limit} files; send fewer at a time", 413)
        self._disposition = b""
        self._data = bytearray()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header, self._value = bytearray(), bytearray()

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._data += data[start:end]

    def _on_part_end(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"filename" in options:
            name = options[b"filename"].decode("utf-8", errors="replace")[:MAX_NAME]
            self.uploads.append(Upload(name, bytes(self._data)))
        elif b"name" in options:
            self._add_field(options[b"name"].decode("utf-8", errors="replace")[:MAX_NAME])
        else:
            raise RequestError("the form has a part with neither a file name nor a field's name; name every part")

    def _add_field(self, name: str) -> None:
        if len(self.fields) == MAX_FIELDS:
            raise RequestError(f"the form holds more than {MAX_FIELDS} fields; send images, and options once")
        if len(self._data) > MAX_FIELD:
            raise RequestError(f"field '{name[:60]}' of the form has more than {MAX_FIELD:,} bytes; {A_FILE}")
        try:
            self.fields.append((name, self._data.decode()))
        except UnicodeDecodeError:
            raise RequestError(f"field '{name[:60]}' of the form is not valid UTF-8; {A_FILE}") from None

    def _on_end(self) -> None:
        self.complete = True


def is_multipart(content_type: str) -> bool:
    """Tell whether a Content-Type header announces a multipart form."""
    return media_type(content_type) == "multipart/form-data"


def media_type(content_type: str) -> str:
    """Return what a Content-Type header names, without parameters, in lower case."""
    return content_type.split(";")[0].strip().lower()


def parse(body: bytes, content_type: str, limit: int) -> Form:
    """Return the files and fields of a form.

    Args:
        body: the whole body.
        content_type: its Content-Type header, with the boundary.
        limit: the most files that are taken.

    Raises:
        RequestError: 400 for a malformed or cut form, or one without a file; 413 for too many files.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not 0 < len(boundary) <= MAX_BOUNDARY:
        raise RequestError(f"the form's boundary has {len(boundary)} characters, expected 1 to {MAX_BOUNDARY}")
    collector = _Collector(limit)
    try:
        parser = MultipartParser(boundary, collector.callbacks())
        parser.write(body)
        parser.finalize()
    except FormParserError:
        raise RequestError("the body is not a valid multipart form; send it as multipart/form-data") from None
    if not collector.complete:
        raise RequestError("the multipart form ends before its closing boundary; send it again in full")
    if not collector.uploads:
        raise RequestError("the form holds no file; send at least one image")
    return Form(tuple(collector.uploads), tuple(collector.fields))
