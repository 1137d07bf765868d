from __future__ import annotations

from torchvision.datasets import Flowers102

from adaptertune_deploy.data.sources.labels.flowers import LABELS


def test_the_names_are_those_of_torchvision_in_its_order() -> None:
    # torchvision marks one name as uncertain.
    assert tuple(name.rstrip("?") for name in Flowers102.classes) == LABELS
    assert len(set(LABELS)) == 102
