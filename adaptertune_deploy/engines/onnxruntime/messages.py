"""ONNX Runtime's messages without its insides: one line, no prefix, no places in its own source."""

from __future__ import annotations

import re

PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
# Where in ONNX Runtime's own source a message comes from: "/path/model.cc:256 ns::Model::Model(...) " or
# "file=/path/cuda_call.cc ; line=123 ; ". The brackets of a C++ signature nest.
BRACKETS = r"\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)"
SOURCE = re.compile(
    rf"\S+\.(?:cc|cpp|cuh?|h|hpp):\d+ (?:[^()]*{BRACKETS}(?:::<lambda{BRACKETS}>)?(?: const)?(?: \[with [^\]]*\])? ?)?"
    r"|file=\S+ ; line=\d+ ; "
)


def first_line(error: Exception) -> str:
    """Return the first line of a message, 300 characters at most."""
    lines = str(error).splitlines() or [type(error).__name__]
    return SOURCE.sub("", PREFIX.sub("", lines[0][:4000]))[:300]
