"""train.device.device: what "auto" means here, and every device or precision that is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.train.device import device as devices
from adaptertune_deploy.train.device.device import Device, choose_device
from tests.model.builders import make_backbone, make_model

CPU = torch.device("cpu")


@pytest.fixture
def _no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def _two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.usefixtures("_no_cuda")
def test_without_a_gpu_auto_is_the_cpu() -> None:
    assert choose_device("auto", "fp32") == Device(CPU, "fp32")
    assert choose_device("cpu", "bf16") == Device(CPU, "bf16")


@pytest.mark.usefixtures("_no_cuda")
@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_a_gpu_that_is_not_there_is_no_cpu(device: str) -> None:
    with pytest.raises(UsageError, match=f"--device {device}: torch .* sees no CUDA device here; use --device cpu"):
        choose_device(device, "auto")


@pytest.mark.usefixtures("_two_gpus")
def test_with_gpus_auto_is_the_first_and_a_number_picks_one() -> None:
    assert choose_device("auto", "fp32").torch == torch.device("cuda")
    assert choose_device("cuda:1", "fp16") == Device(torch.device("cuda:1"), "fp16")
    with pytest.raises(UsageError, match="--device cuda:2: this machine has cuda:0 to cuda:1"):
        choose_device("cuda:2", "fp32")


@pytest.mark.usefixtures("_two_gpus")
@pytest.mark.parametrize("device", ["tpu", "cpu:0", "cuda:", "cuda:x", "cuda:-1", "CUDA", ""])
def test_another_device_is_refused(device: str) -> None:
    with pytest.raises(UsageError, match="expected auto, cpu, cuda or cuda:N"):
        choose_device(device, "fp32")


@pytest.mark.parametrize("precision", ["fp8", "float32", "BF16", ""])
def test_an_unknown_precision_is_refused(precision: str) -> None:
    with pytest.raises(UsageError, match=f"--precision {precision}: expected auto, fp32, bf16 or fp16"):
        choose_device("cpu", precision)


def test_fp16_is_refused_on_a_cpu() -> None:
    with pytest.raises(UsageError, match="--precision fp16: a CPU gains nothing from it; use bf16 or fp32"):
        choose_device("cpu", "fp16")


@pytest.mark.parametrize(
    ("capabilities", "faster", "expected"),
    [
        ({"avx512_bf16": True}, True, "bf16"),
        ({"avx512_bf16": True}, False, "fp32"),
        ({"amx_bf16": True}, True, "bf16"),
        ({"avx512": True, "avx512_bf16": False}, None, "fp32"),
        ({}, None, "fp32"),
    ],
)
def test_a_cpu_takes_bf16_only_when_its_instructions_for_it_are_faster(
    capabilities: dict[str, bool], faster: bool | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured() -> bool:
        assert faster is not None, "measured without instructions for it"
        return faster

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    monkeypatch.setattr(devices, "bf16_is_faster", measured)
    assert choose_device("cpu", "auto").precision == expected


@pytest.mark.usefixtures("_two_gpus")
@pytest.mark.parametrize(("supported", "expected"), [(True, "bf16"), (False, "fp16")])
def test_a_gpu_takes_bf16_where_it_is_not_emulated(
    supported: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def is_supported(including_emulation: bool = True) -> bool:
        asked.append(including_emulation)
        return supported

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_supported)
    assert choose_device("cuda", "auto").precision == expected
    assert asked == [False]


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_autocast_changes_the_matrix_products_and_not_the_weights(precision: str, dtype: torch.dtype) -> None:
    layer = torch.nn.Linear(4, 4)
    with Device(CPU, precision).autocast():
        assert layer(torch.ones(2, 4)).dtype == dtype
    assert layer.weight.dtype == torch.float32
    assert layer(torch.ones(2, 4)).dtype == torch.float32


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_loss_is_scaled_in_fp16_only(precision: str) -> None:
    assert not Device(CPU, precision).scaler().is_enabled()
    assert Device(CPU, "fp16").scaler().is_enabled()


@pytest.mark.parametrize(
    ("precision", "patch_size", "fast"),
    [("bf16", 8, True), ("bf16", 1, True), ("bf16", 0, False), ("fp32", 8, False)],
)
def test_bf16_on_a_cpu_multiplies_attention_plainly_and_writes_its_gradients_out(
    precision: str, patch_size: int, fast: bool
) -> None:
    backbone = make_backbone()
    backbone = replace(backbone, spec=replace(backbone.spec, patch_size=patch_size))
    blocks: Any = backbone.module.blocks
    with Device(CPU, precision).fast_steps(backbone):
        assert blocks[0].attn.fused_attn is not fast
        assert ["forward" in vars(block) for block in blocks] == [fast, fast, True]
    assert blocks[0].attn.fused_attn
    assert not any("forward" in vars(block) for block in blocks)


def test_more_patches_than_memory_bears_keep_fused_attention() -> None:
    backbone = make_backbone()
    backbone = replace(backbone, spec=replace(backbone.spec, patch_size=1, image_size=(16, 17)))
    blocks: Any = backbone.module.blocks
    with Device(CPU, "bf16").fast_steps(backbone):
        assert blocks[0].attn.fused_attn
        assert "forward" not in vars(blocks[0])


def test_adapters_and_their_sums_are_one_function_where_a_model_trains() -> None:
    model = make_model()
    with Device(CPU, "fp32").fast_steps(make_backbone()):
        assert not any(adapter.at_once for adapter in model.adapters.values())
    with Device(CPU, "fp32").fast_steps(make_backbone(), model):
        assert all(adapter.at_once for adapter in model.adapters.values())
    with Device(torch.device("meta"), "bf16").fast_steps(make_backbone(), model):
        assert not any(adapter.at_once for adapter in model.adapters.values())


def test_only_the_class_token_leaves_the_last_block_in_every_precision() -> None:
    backbone = make_backbone()
    for precision in ("fp32", "bf16"):
        with Device(CPU, precision).fast_steps(backbone):
            assert backbone.module.forward_features(torch.zeros(2, 3, 16, 16)).shape == (2, 1, 16)  # type: ignore[operator]
