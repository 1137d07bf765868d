from __future__ import annotations

from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.serve.tasks.host_memory import HostMemory
from tests.serve.fakes import make_adapters


def size(adapter: Adapter) -> int:
    return sum(value.nbytes for value in adapter.tensors.values())


def refuse() -> Adapter:
    raise AssertionError("it is kept, and nothing is read")


def test_what_was_read_last_is_kept_within_the_limit() -> None:
    pets, flowers, digits = make_adapters()
    memory = HostMemory(size(pets) + size(flowers))
    assert memory.read("p", lambda: pets) is pets
    memory.keep("f", flowers)
    assert memory.read("p", refuse) is pets
    memory.keep("d", digits)  # flowers was asked for least recently
    assert ["p" in memory, "f" in memory, "d" in memory] == [True, False, True]
    assert memory.read("d", refuse) is digits


def test_what_is_too_large_is_read_again() -> None:
    pets = make_adapters()[0]
    for limit in (0, size(pets) - 1):
        memory = HostMemory(limit)
        assert memory.read("p", lambda: pets) is pets
        assert "p" not in memory
