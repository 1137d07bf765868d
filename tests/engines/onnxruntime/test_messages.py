from __future__ import annotations

import pytest

from adaptertune_deploy.engines.onnxruntime.messages import first_line


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("no source named", "no source named"),
        ("[ONNXRuntimeError] : 1 : FAIL : plain", "plain"),
        ("[ONNXRuntimeError] : 1 : FAIL : /s/model.cc:2 a::M::M(x&&, const f<void(int)>&) Bad: 9\n", "Bad: 9"),
        (
            "Status: D:\\a\\x.h:40 void a::B(const f<int (g<int>(h))>&) const [with T = int] was false",
            "Status: was false",
        ),
        ("Name:'add' /s/b.cu:7 a::C()::<lambda(int)> out of memory", "Name:'add' out of memory"),
        ("out of memory ; GPU=0 ; file=/s/cuda_call.cc ; line=9 ; expr=x", "out of memory ; GPU=0 ; expr=x"),
    ],
)
def test_places_in_the_engines_source_are_cut_out_of_messages(message: str, expected: str) -> None:
    assert first_line(RuntimeError(message)) == expected


def test_an_error_without_words_is_called_by_its_kind() -> None:
    assert first_line(MemoryError()) == "MemoryError"


def test_a_long_message_is_cut_in_a_short_time() -> None:
    assert len(first_line(RuntimeError("/a/b.cc:1 " + "f(" * 100_000))) <= 300
