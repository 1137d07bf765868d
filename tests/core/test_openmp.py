from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from adaptertune_deploy.core import openmp

SHOWS = """
import os
from adaptertune_deploy.core import openmp
openmp.wait_briefly(os.environ)
import torch
torch.ones(8).sum()
"""


@pytest.mark.parametrize(
    ("given", "then"),
    [
        ({}, {openmp.LOOKS: "1000"}),
        ({openmp.LOOKS: "5"}, {openmp.LOOKS: "5"}),
        ({openmp.POLICY: "active"}, {openmp.POLICY: "active"}),
    ],
)
def test_what_a_person_set_stays(given: dict[str, str], then: dict[str, str]) -> None:
    environment = dict(given)
    openmp.wait_briefly(environment)
    assert environment == then


@pytest.mark.parametrize(("given", "looks"), [({}, openmp.FEW_LOOKS), ({openmp.LOOKS: "77"}, 77)])
def test_torchs_openmp_takes_it(given: dict[str, str], looks: int) -> None:
    """libgomp prints its settings when it is loaded, where OMP_DISPLAY_ENV asks for them."""
    pytest.importorskip("torch")
    kept = {name: value for name, value in os.environ.items() if name not in (openmp.LOOKS, openmp.POLICY)}
    environment = {**kept, **given, "OMP_DISPLAY_ENV": "verbose"}
    shown = subprocess.run([sys.executable, "-c", SHOWS], env=environment, capture_output=True, text=True, check=True)
    found = re.findall(r"GOMP_SPINCOUNT = '(\d+)'", shown.stderr)
    if not found:
        pytest.skip("torch's OpenMP is not libgomp")
    assert {int(count) for count in found} == {looks}
