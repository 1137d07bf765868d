"""model.nearest: a mistyped name is answered with a backbone that adapters work on."""

from __future__ import annotations

import pytest
import timm

from adaptertune_deploy.model.names import FAMILIES
from adaptertune_deploy.model.nearest import nearest


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("deit_tny", "deit_tiny_patch16_224"),
        ("deit_tiny", "deit_tiny_patch16_224"),
        ("vit_smal_patch16_224", "vit_small_patch16_224"),
        ("vit_small_patch16", "vit_small_patch16_224"),
        ("eva02_tny_patch14", "eva02_tiny_patch14_224"),
        ("vitt_tiny_patch16_224", "vit_tiny_patch16_224"),
    ],
)
def test_the_nearest_working_name_is_given_whole(typed: str, meant: str) -> None:
    assert nearest(typed, timm.list_models()) == f" Did you mean '{meant}'?"


@pytest.mark.parametrize("typed", ["rdnet_tny", "resnet51", "mobilenetv3_smal_100", "swin_tny_patch4_window7_224"])
def test_no_network_is_suggested_that_would_be_refused(typed: str) -> None:
    suggested = nearest(typed, timm.list_models())
    assert suggested == "" or suggested.split("'")[1].startswith(FAMILIES)
    assert "resnet" not in suggested
