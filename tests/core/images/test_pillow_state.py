from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from PIL import Image

from adaptertune_deploy.core.images.pillow_state import reading_header

USUAL = 1000


@pytest.fixture(autouse=True)
def usual(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let Pillow's own limit be a round number, and see that it comes back with the filters."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", USUAL)
    filters = list(warnings.filters)
    yield
    assert Image.MAX_IMAGE_PIXELS == USUAL
    assert warnings.filters == filters


@pytest.mark.parametrize(("asked", "held"), [(5000, 5000), (10, USUAL), (None, None)])
def test_warnings_are_muted_and_the_limit_is_only_lifted(asked: int | None, held: int | None) -> None:
    with reading_header(asked):
        warnings.warn("an odd header", stacklevel=1)  # an error in this suite
        assert held == Image.MAX_IMAGE_PIXELS
    with pytest.raises(UserWarning, match="an odd header"):
        warnings.warn("an odd header", stacklevel=1)


def test_several_readers_end_in_any_order_and_the_widest_limit_of_those_left_holds() -> None:
    with ExitStack() as first, ExitStack() as second, ExitStack() as third:
        first.enter_context(reading_header(None))
        second.enter_context(reading_header(5000))
        third.enter_context(reading_header(3000))
        for stack, left in ((first, 5000), (second, 3000), (third, USUAL)):
            stack.close()
            assert left == Image.MAX_IMAGE_PIXELS


def test_nobody_waits_while_another_one_reads() -> None:
    inside = threading.Event()

    def read() -> None:
        with reading_header(5000):
            inside.set()

    with reading_header(3000):
        thread = threading.Thread(target=read)
        thread.start()
        assert inside.wait(30)
        thread.join()


def test_an_error_inside_puts_everything_back() -> None:
    with pytest.raises(ValueError, match="damaged"), reading_header(None):
        raise ValueError("damaged")
