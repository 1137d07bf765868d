from __future__ import annotations

from tests.cli.conftest import Atd


def test_an_absent_adapter_says_how_to_train_it(atd: Atd) -> None:
    done = atd("evaluate", "--adapter", "pets")
    assert (done.code, done.out) == (1, "")
    assert "adapters/pets: no such adapter folder; train one with: atd train --dataset pets" in done.err


def test_a_dataset_that_is_gone_is_one_line(atd: Atd) -> None:
    done = atd("evaluate", "--adapter", "birds")
    assert done.code in (1, 2)
    assert "squares" in done.err
    assert "Traceback" not in done.err
