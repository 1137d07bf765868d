"""core.adapter.bank against the adapter's equation, written out in float64 for one task at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.errors import EngineError, FormatError
from adaptertune_deploy.core.storage.tensors import Array
from tests.builders import make_adapter, make_backbone_spec, make_task

Doubles = npt.NDArray[np.float64]
WIDTH, DEPTH, FEATURES = 6, 5, 9


def gelu(x: Doubles) -> Doubles:
    erf = np.vectorize(math.erf, otypes=[np.float64])
    result: Doubles = 0.5 * x * (1 + erf(x / math.sqrt(2)))
    return result


class Network:
    """Frozen blocks and a pooling that stand for a backbone; tokens are float64 [rows, tokens, WIDTH]."""

    def __init__(self, seed: int) -> None:
        generator = np.random.default_rng(seed)
        self.blocks = generator.normal(size=(DEPTH, WIDTH, WIDTH)) / WIDTH
        self.pool = generator.normal(size=(WIDTH, FEATURES)) / WIDTH
        self.tokens = generator.normal(size=(7, 4, WIDTH))

    def block(self, index: int, x: Doubles) -> Doubles:
        result: Doubles = x + np.tanh(x @ self.blocks[index])
        return result

    def alone(self, adapter: Adapter, x: Doubles) -> Doubles:
        """One task by its own tensors in torch's [out, in] layout: x + alpha * up(GELU(down(x)))."""
        t = {name: value.astype(np.float64) for name, value in adapter.tensors.items()}
        for index in range(DEPTH):
            x = self.block(index, x)
            if index in adapter.task.adapter.blocks:
                down, up = f"blocks.{index}.adapter.down", f"blocks.{index}.adapter.up"
                hidden = gelu(x @ t[f"{down}.weight"].T + t[f"{down}.bias"])
                x = x + adapter.task.adapter.alpha * (hidden @ t[f"{up}.weight"].T + t[f"{up}.bias"])
        features: Doubles = x.mean(axis=1) @ self.pool
        return features

    def shared(self, stacked: dict[str, Array], slots: Sequence[int], tasks: npt.NDArray[np.int64]) -> Doubles:
        """Every row's features by its own place in the bank, as the shared graph computes them."""
        t = {name: value.astype(np.float64)[tasks] for name, value in stacked.items()}
        x = self.tokens
        for index in range(DEPTH):
            x = self.block(index, x)
            if index in slots:
                down, up = f"blocks.{index}.adapter.down", f"blocks.{index}.adapter.up"
                hidden = gelu(x @ t[f"{down}.weight"] + t[f"{down}.bias"][:, None])
                x = x + hidden @ t[f"{up}.weight"] + t[f"{up}.bias"][:, None]
        features: Doubles = x.mean(axis=1) @ self.pool
        return features


BACKBONE = make_backbone_spec(WIDTH, DEPTH, FEATURES)


def stack(adapters: Sequence[Adapter], slots: Sequence[int]) -> dict[str, Array]:
    return bank.stack([bank.folded_blocks(adapter) for adapter in adapters], slots, WIDTH)


# Rank, blocks, alpha: powers of two, which fold into `up` without rounding; the rest of the comparison is float64.
TASKS = st.tuples(
    st.integers(0, 5), st.sets(st.integers(0, DEPTH - 1), min_size=1), st.sampled_from([1.0, 0.5, 4.0, -2.0, 0.0])
)


@given(tasks=st.lists(TASKS, min_size=1, max_size=4), extra=st.sets(st.integers(0, DEPTH - 1)), seed=st.integers(0, 99))
def test_each_row_gets_what_its_task_alone_computes(
    tasks: list[tuple[int, set[int], float]], extra: set[int], seed: int
) -> None:
    held = [
        make_adapter(make_task(f"task{place}", 3, rank, sorted(blocks), alpha), BACKBONE, seed + place)
        for place, (rank, blocks, alpha) in enumerate(tasks)
    ]
    slots = sorted(extra.union(*(adapter.task.adapter.blocks for adapter in held)))
    network = Network(seed)
    rows = np.random.default_rng(seed).integers(0, len(held), len(network.tokens))
    features = network.shared(stack(held, slots), slots, rows)
    assert features.shape == (len(rows), FEATURES)
    for row, place in enumerate(rows):
        expected = network.alone(held[place], network.tokens[row : row + 1])[0]
        np.testing.assert_allclose(features[row], expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("count", [1, 3])
def test_a_bank_of_heads_only_has_one_hidden_unit_of_zeros(count: int) -> None:
    held = [make_adapter(make_task(f"task{place}", rank=0), BACKBONE, place) for place in range(count)]
    stacked = stack(held, (0, 4))
    assert stacked["blocks.4.adapter.down.weight"].shape == (count, WIDTH, 1)
    assert stacked["blocks.4.adapter.up.weight"].shape == (count, 1, WIDTH)
    assert not any(value.any() for value in stacked.values())


@given(rank=st.sampled_from([0, 2]), temperature=st.floats(0.05, 20), seed=st.integers(0, 9))
def test_the_temperature_divides_the_head_and_nothing_else(rank: int, temperature: float, seed: int) -> None:
    plain, warm = (
        bank.folded(make_adapter(make_task(rank=rank, alpha=0.5, temperature=value), BACKBONE, seed))
        for value in (1.0, temperature)
    )
    assert plain.keys() == warm.keys()
    for name, value in plain.items():
        divisor = np.float32(temperature if name.startswith("head.") else 1)
        np.testing.assert_array_equal(warm[name], value / divisor, strict=True)


def test_a_temperature_that_overflows_the_head_is_refused_without_a_warning() -> None:
    adapter = make_adapter(make_task(temperature=1e-6))
    adapter.tensors["head.weight"] *= np.float32(1e34)
    with pytest.raises(FormatError, match=r"task 'pets': 'head.weight' divided by temperature 1e-06 overflows float32"):
        bank.folded(adapter)


def test_any_alpha_is_folded_to_float32_precision() -> None:
    adapter = make_adapter(make_task(alpha=0.3, blocks=(0, 4)), BACKBONE)
    network = Network(0)
    rows = np.zeros(len(network.tokens), dtype=np.int64)
    features = network.shared(stack([adapter], (0, 4)), (0, 4), rows)
    np.testing.assert_allclose(features, network.alone(adapter, network.tokens), rtol=1e-5, atol=1e-5)
    unfolded = make_adapter(make_task(alpha=1.0, blocks=(0, 4)), BACKBONE)
    assert np.abs(features - network.alone(unfolded, network.tokens)).max() > 0.1


def test_the_bank_has_the_documented_names_and_shapes() -> None:
    held = [
        make_adapter(make_task("a", classes=3, rank=2, blocks=(1, 3)), BACKBONE),
        make_adapter(make_task("b", classes=7, rank=4, blocks=(3,)), BACKBONE),
    ]
    stacked = stack(held, (1, 3))
    assert {name: value.shape for name, value in stacked.items()} == {
        "blocks.1.adapter.down.weight": (2, WIDTH, 4),
        "blocks.1.adapter.down.bias": (2, 4),
        "blocks.1.adapter.up.weight": (2, 4, WIDTH),
        "blocks.1.adapter.up.bias": (2, WIDTH),
        "blocks.3.adapter.down.weight": (2, WIDTH, 4),
        "blocks.3.adapter.down.bias": (2, 4),
        "blocks.3.adapter.up.weight": (2, 4, WIDTH),
        "blocks.3.adapter.up.bias": (2, WIDTH),
    }
    assert tuple(stacked) == bank.bank_names((1, 3))
    assert all(value.dtype == np.float32 and value.flags.c_contiguous for value in stacked.values())


def test_the_declared_input_shapes_are_those_of_a_bank() -> None:
    held = [make_adapter(make_task(name, classes=7, rank=4, blocks=(1, 3)), BACKBONE) for name in ("a", "b", "c")]
    declared = bank.input_shapes((1, 3), WIDTH)
    sizes: dict[int | str, int] = {"T": 3, "r": 4}
    found = {name: tuple(sizes.get(size, size) for size in shape) for name, shape in declared.items()}
    assert found == {name: value.shape for name, value in stack(held, (1, 3)).items()}
    assert tuple(declared) == bank.bank_names((1, 3))


def test_folding_and_stacking_leave_the_adapter_as_it_was() -> None:
    adapter = make_adapter(make_task(alpha=3.0), BACKBONE)
    before = {name: value.copy() for name, value in adapter.tensors.items()}
    for value in stack([adapter, adapter], (0, 1, 2, 3)).values():
        value[:] = 0
    folded = bank.folded(adapter)
    for name, value in before.items():
        np.testing.assert_array_equal(adapter.tensors[name], value, strict=True)
        expected = value * np.float32(3) if ".up." in name else value
        np.testing.assert_array_equal(folded[name], expected.T, strict=True)
        assert folded[name].flags.c_contiguous


def test_a_block_without_a_slot_is_named_with_the_slots_there_are() -> None:
    adapter = make_adapter(make_task("pets", blocks=(0, 2)), BACKBONE)
    with pytest.raises(FormatError, match=r"task 'pets' adapts block 0, .* slots after blocks 2, 3 only"):
        bank.check_slots("pets", adapter.task.adapter.blocks, (2, 3))


def test_a_slots_shapes_are_those_of_a_bank_of_its_rank() -> None:
    stacked = stack([make_adapter(make_task(rank=4, blocks=(1, 3)), BACKBONE)], (1, 3))
    assert bank.slot_shapes((1, 3), WIDTH, 4) == {name: value.shape[1:] for name, value in stacked.items()}


def test_a_bank_keeps_the_type_of_its_parts() -> None:
    part = {name: value.astype(np.float16) for name, value in bank.folded_blocks(make_adapter(make_task())).items()}
    assert {value.dtype for value in bank.stack([{}, part], (0, 1, 2, 3), 8).values()} == {np.dtype(np.float16)}


@pytest.mark.parametrize(
    ("image", "task", "message"),
    [
        ([0, 2], [0, 0], "'image' names 0 to 2, but there are 2 only"),
        ([-1, 0], [0, 0], "'image' names -1 to 0, but there are 2 only"),
        ([0, 1], [0, 3], "'task' names 0 to 3, but there are 3 only"),
        ([0, 1], [0], r"'task' is int64 \[1\], expected int64 \[2\]"),
        ([], [], r"'image' is int64 \[0\], expected int64 \[1\]"),
        ([[0, 1]], [[0, 1]], r"'image' is int64 \[1, 2\]"),
    ],
)
def test_rows_that_name_what_is_not_there_are_refused(image: list[int], task: list[int], message: str) -> None:
    with pytest.raises(EngineError, match=message):
        bank.check_rows(2, np.array(image, dtype=np.int64), np.array(task, dtype=np.int64), 3)


def test_rows_of_another_type_are_refused_and_good_ones_pass() -> None:
    rows = np.array([0, 1], dtype=np.int64)
    bank.check_rows(2, rows, rows, 2)
    with pytest.raises(EngineError, match="'task' is int32"):
        bank.check_rows(2, rows, rows.astype(np.int32), 2)  # type: ignore[arg-type]


def test_alpha_that_overflows_a_tensor_is_refused_without_a_warning() -> None:
    with pytest.raises(FormatError, match=r"task 'pets': alpha 3e\+38 times 'blocks.0.adapter.up.weight' overflows"):
        bank.folded(make_adapter(make_task(alpha=3e38)))
