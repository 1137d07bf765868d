"""model.names: what every command may say without loading anything."""

from __future__ import annotations

import subprocess
import sys

import timm

from adaptertune_deploy.model import names


def test_the_default_is_a_backbone_that_timm_hands_out() -> None:
    config = timm.models.get_pretrained_cfg(names.DEFAULT_BACKBONE)
    assert config.hf_hub_id == f"timm/{names.DEFAULT_BACKBONE}"


def test_every_family_that_is_named_exists() -> None:
    known = timm.list_models()
    assert all(any(name.startswith(family) for name in known) for family in names.FAMILIES)


def test_the_names_load_nothing() -> None:
    script = "import sys, adaptertune_deploy.model.names; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "timm", "numpy"} & set(loaded)
