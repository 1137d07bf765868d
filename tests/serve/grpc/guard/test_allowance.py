from __future__ import annotations

from adaptertune_deploy.serve.grpc.guard.allowance import Allowance


def test_so_many_at_once_and_so_many_a_second() -> None:
    allowance = Allowance(3, 2.0, now=10.0)
    assert [allowance.spend() for _ in range(4)] == [True, True, True, False]
    allowance.refill(12.0)
    assert [allowance.spend() for _ in range(4)] == [True, True, True, False]
    allowance.refill(12.0)
    assert not allowance.spend()


def test_no_more_than_it_holds() -> None:
    allowance = Allowance(3, 2.0, now=0.0)
    allowance.earn(100.0)
    allowance.refill(1000.0)
    assert allowance.spend(3)
    assert not allowance.spend(0.5)
