from __future__ import annotations

import torch

from pretraining import network


def test_names() -> None:
    assert f"{network.NAME}.{network.TAG}.safetensors" == network.FILE
    assert (network.NAME, network.TAG) == ("vit_pico_patch8_64", "atd_formula")


def test_size_and_output() -> None:
    torch.manual_seed(0)
    backbone = network.create().eval()
    parameters = sum(parameter.numel() for parameter in backbone.parameters())
    assert parameters == 1_619_328
    assert backbone(torch.zeros(2, 3, 64, 64)).shape == (2, 128)
    assert not any(name.startswith("head.") for name in backbone.state_dict())
