"""train.request.request: a request is made without anything heavy, and asks for the usual where nothing is said."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from adaptertune_deploy.train.request.recipe import Recipe
from adaptertune_deploy.train.request.request import TrainRequest


def test_what_is_not_said_is_the_usual() -> None:
    request = TrainRequest("pets", None, Path("adapters"))
    assert (request.recipe, request.task, request.weights, request.skip_bad) == (Recipe(), None, None, False)
    assert not request.allow_random


def test_nothing_heavy_is_loaded() -> None:
    script = "import sys, adaptertune_deploy.train.request.request; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "timm", "numpy"} & set(loaded)
