"""train.parallel.group: a batch's gradient out of every process's, and words for one that is gone; gloo is a double.

Real processes are in test_help.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from adaptertune_deploy.train.parallel import group as module
from adaptertune_deploy.train.parallel.group import FAILURE, Group, LostError
from adaptertune_deploy.train.parallel.launch import Launch


class Store(dict[str, bytes]):
    def set(self, key: str, value: str) -> None:
        self[key] = value.encode()

    def check(self, keys: list[str]) -> bool:
        return all(key in self for key in keys)

    def get(self, key: str) -> bytes:  # type: ignore[override]
        return self[key]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    kept = Store()
    monkeypatch.setattr(dist, "init_process_group", lambda *_, **__: None)
    monkeypatch.setattr(module, "_store", lambda: kept)
    return kept


def make_parameters() -> list[nn.Parameter]:
    return [nn.Parameter(torch.zeros(2, 3)), nn.Parameter(torch.zeros(4))]


@pytest.mark.usefixtures("store")
def test_the_gradient_is_that_of_the_mean_over_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(6, 10, generator=generator)  # each image's gradient
    losses = torch.rand(6, generator=generator)
    counts, sums = [4, 2, 0], []

    def take(rank: int) -> tuple[list[nn.Parameter], Tensor]:
        parameters = make_parameters()
        own = slice(sum(counts[:rank]), sum(counts[: rank + 1]))
        if counts[rank]:
            mean = rows[own].mean(dim=0)
            parameters[0].grad, parameters[1].grad = mean[:6].view(2, 3), mean[6:]
        loss = losses[own].mean() if counts[rank] else torch.zeros(())
        return parameters, Group(Launch(rank, 3, rank)).mean(parameters, loss, counts)

    monkeypatch.setattr(dist, "all_reduce", lambda flat: sums.append(flat.clone()))
    for rank in range(3):
        take(rank)
    monkeypatch.setattr(dist, "all_reduce", lambda flat: flat.copy_(torch.stack(sums).sum(dim=0)))
    for rank in range(3):
        parameters, loss = take(rank)
        found = torch.cat([parameter.grad.flatten() for parameter in parameters if parameter.grad is not None])
        torch.testing.assert_close(found, rows.mean(dim=0))
        torch.testing.assert_close(loss, losses.mean())


def test_a_process_that_is_gone_is_one_line(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: Any, **__: Any) -> None:
        raise RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:2\nmore lines")

    group = Group(Launch(0, 2, 0))
    for name in ("all_reduce", "all_gather", "broadcast_object_list"):
        monkeypatch.setattr(dist, name, gone)
    for call in (lambda: group.counts(3), lambda: group.send(1), group.receive):
        with pytest.raises(LostError, match=r"^another process of this training ended; what torchrun prints below"):
            call()
    Group(Launch(1, 2, 1)).fail("no room on the disk")
    assert store[FAILURE] == b"process 1 of 2: no room on the disk"
    with pytest.raises(LostError, match=r"^process 1 of 2: no room on the disk$"):
        group.mean(make_parameters(), torch.zeros(()), [2, 2])


def test_processes_that_don_t_come_are_one_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise dist.DistNetworkError("connection refused")

    monkeypatch.setattr(dist, "init_process_group", refused)
    with pytest.raises(LostError, match="another process of this training ended"):
        Group(Launch(0, 2, 0))
