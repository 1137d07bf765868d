from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import FGVCAircraft

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.data.datasets import open_dataset
from tests.data.builders import make_aircraft, save_image


def test_every_item_agrees_with_torchvision_above_the_banner(tmp_path: Path) -> None:
    dataset = open_dataset("aircraft", make_aircraft(tmp_path))
    for split, part in ((dataset.train, "train"), (dataset.val, "val"), (dataset.test, "test")):
        assert split is not None
        peer = FGVCAircraft(str(tmp_path), split=part)
        assert dataset.labels == tuple(peer.classes) == ("707-320", "Cessna 172", "DHC-8-100")
        assert len(split) == len(peer)
        for row in range(len(peer)):
            image, target = peer[row]
            assert split.targets[row] == target
            assert np.array_equal(np.asarray(split.image(row)), np.asarray(image)[:-20])
    assert (dataset.augment, dataset.non_commercial, dataset.redistributable) == ("fine", True, False)


def test_the_image_that_is_handed_on_has_no_banner_either(tmp_path: Path) -> None:
    dataset = open_dataset("aircraft", make_aircraft(tmp_path))
    data, suffix = dataset.train.encoded(0)
    file = tmp_path / "fgvc-aircraft-2013b" / "data" / "images" / dataset.train.names[0]
    with Image.open(file) as whole, Image.open(io.BytesIO(data)) as cut:
        assert (suffix, cut.format) == (".png", "PNG")
        assert cut.size == (whole.width, whole.height - 20)
        assert np.array_equal(np.asarray(cut), np.asarray(dataset.train.image(0)))


def test_an_image_that_is_all_banner_is_refused(tmp_path: Path) -> None:
    root = make_aircraft(tmp_path)
    save_image(root / "fgvc-aircraft-2013b" / "data" / "images" / "0000001.jpg", size=(50, 20))
    dataset = open_dataset("aircraft", root)
    with pytest.raises(DatasetError, match=r"0000001\.jpg: is 20 pixels high, expected a banner of 20"):
        dataset.train.image(0)


def test_a_line_of_another_form_is_refused(tmp_path: Path) -> None:
    root = make_aircraft(tmp_path)
    (root / "fgvc-aircraft-2013b" / "data" / "images_variant_test.txt").write_text(
        "0000005 707-320\n0000006 Concorde\n"
    )
    with pytest.raises(
        DatasetError, match=r"images_variant_test\.txt:2: found '0000006 Concorde', expected: image variant"
    ):
        open_dataset("aircraft", root)


def test_an_absent_image_is_refused_or_skipped(tmp_path: Path) -> None:
    root = make_aircraft(tmp_path)
    (root / "fgvc-aircraft-2013b" / "data" / "images" / "0000006.jpg").unlink()
    with pytest.raises(DatasetError, match="1 of 2 in test"):
        open_dataset("aircraft", root)
    assert open_dataset("aircraft", root, allow_missing=True).skipped == ("0000006.jpg",)
