from __future__ import annotations

import pytest

from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.data.sources.suffixes import SIGNATURES, suffix_of
from tests.builders import encode, make_image


@pytest.mark.parametrize(
    ("kind", "suffix"), [("JPEG", ".jpg"), ("PNG", ".png"), ("WEBP", ".webp"), ("BMP", ".bmp"), ("GIF", ".gif")]
)
def test_a_file_that_servers_take_is_known_by_its_bytes(kind: str, suffix: str) -> None:
    data = encode(make_image(), kind)
    assert suffix_of(data) == suffix
    assert len(SIGNATURES) == len(preprocess.FORMATS)


@pytest.mark.parametrize("data", [b"", b"text", encode(make_image(), "TIFF")])
def test_other_bytes_are_no_image(data: bytes) -> None:
    assert suffix_of(data) == ".bin"
