"""Planted defects of every kind, each found and named; a sound folder has none."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.data import check as checking
from adaptertune_deploy.data.check import Report, check
from adaptertune_deploy.data.findings import classes, images
from adaptertune_deploy.data.findings.finding import Finding
from adaptertune_deploy.data.findings.opening import open_for_check
from tests.data.scenes import save_scene, scene


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of 12 training and 8 test images a class, all different, that nobody changes."""
    root = tmp_path_factory.mktemp("sound")
    for number, (part, count) in enumerate((("train", 12), ("test", 8))):
        for row in range(count):
            for place, label in enumerate(("cat", "dog")):
                save_scene(root / part / label / f"{row}.jpg", 1000 * number + 2 * row + place, quality=90)
    return root


@pytest.fixture
def folder(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a sound folder of one's own; a test of 10 images is large enough here."""
    monkeypatch.setattr(classes, "FEW_TESTED", 10)
    return Path(shutil.copytree(sound, tmp_path / "photos"))


def checked(root: Path, progress: Progress = silent) -> Report:
    return check(open_for_check(str(root)), progress)


def found(root: Path) -> dict[str, Finding]:
    return {finding.code: finding for finding in checked(root).findings}


def test_a_sound_folder_has_no_finding(folder: Path) -> None:
    report = checked(folder)
    assert report.findings == ()
    assert report.duplicates.groups == ()
    assert report.passes(strict=True)
    assert [(split.name, split.images, split.unreadable, split.classes) for split in report.splits] == [
        ("train", 24, 0, 2),
        ("test", 16, 0, 2),
    ]
    assert report.splits[0].smallest == report.splits[0].largest == 12
    assert report.splits[0].sides == (232, 232, 232)


def test_unreadable_files_of_every_kind_are_all_named(folder: Path) -> None:
    cat = folder / "train" / "cat"
    (cat / "0.jpg").write_bytes(b"")
    (cat / "1.jpg").write_bytes((cat / "1.jpg").read_bytes()[:3000])
    (cat / "2.jpg").write_text("<html>not found</html>")
    (folder / "test" / "dog" / "3.jpg").unlink()
    (folder / "test" / "dog" / "3.jpg").symlink_to("nowhere.jpg")
    report = checked(folder)
    (finding,) = [finding for finding in report.findings if finding.code == "unreadable"]
    assert set(finding.names) == {"train/cat/0.jpg", "train/cat/1.jpg", "train/cat/2.jpg", "test/dog/3.jpg"}
    assert finding.text.startswith("4 of 40 images can't be read (first: train/cat/0.jpg: empty (0 bytes), ")
    assert not report.passes()
    assert {finding.code for finding in report.findings} == {"unreadable"}
    assert [split.unreadable for split in report.splits] == [3, 1]


def test_copies_across_splits(folder: Path) -> None:
    shutil.copy(folder / "train/cat/0.jpg", folder / "test/cat/copy.jpg")
    Image.open(folder / "train/cat/1.jpg").save(folder / "test/cat/again.png")
    ImageOps.mirror(Image.open(folder / "train/dog/2.jpg")).resize((300, 290)).save(folder / "test/dog/other.webp")
    said = found(folder)
    assert set(said["test-copies"].names) == {"test/cat/copy.jpg", "test/cat/again.png"}
    assert "test/cat/copy.jpg = train/cat/0.jpg" in said["test-copies"].text
    assert said["test-near-copies"].names == ("test/dog/other.webp",)
    assert set(said) == {"test-copies", "test-near-copies"}
    assert {finding.severity for finding in said.values()} == {"error"}


def test_copies_within_a_split_and_under_two_labels(folder: Path) -> None:
    shutil.copy(folder / "train/cat/0.jpg", folder / "train/cat/copy.jpg")
    Image.open(folder / "train/cat/1.jpg").save(folder / "train/cat/smaller.jpg", quality=30)
    shutil.copy(folder / "train/cat/2.jpg", folder / "train/dog/wrong.jpg")
    said = found(folder)
    assert set(said) == {"copies", "near-copies", "two-labels"}
    assert said["copies"].names == ("train/cat/copy.jpg",)
    assert said["near-copies"].names == ("train/cat/smaller.jpg",)
    assert set(said["two-labels"].names) == {"train/cat/2.jpg", "train/dog/wrong.jpg"}
    assert "train/cat/2.jpg as 'cat' and train/dog/wrong.jpg as 'dog'" in said["two-labels"].text


def test_a_near_copy_under_another_label_is_a_warning(folder: Path) -> None:
    Image.open(folder / "train/cat/2.jpg").save(folder / "train/dog/wrong.jpg", quality=50)
    finding = found(folder)["two-labels-near"]
    assert finding.severity == "warning"
    assert checked(folder).passes()
    assert not checked(folder).passes(strict=True)


def test_tiny_unequal_and_untested_classes(folder: Path) -> None:
    for row in range(1, 12):
        (folder / "train" / "dog" / f"{row}.jpg").unlink()
    shutil.rmtree(folder / "test" / "dog")
    save_scene(folder / "test/cat/8.jpg", 5000)
    save_scene(folder / "test/cat/9.jpg", 5001)
    said = found(folder)
    assert said["tiny-classes"].names == ("dog",)
    assert "12.0 times" in said["unequal-classes"].text
    assert said["unequal-classes"].severity == "warning"
    assert said["untested-classes"].names == ("dog",)
    assert said["refused"].severity == "error"
    assert "test: holds 1 folder of images, expected at least 2" in said["refused"].text


def test_a_small_test(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classes, "FEW_TESTED", 100)
    assert set(found(folder)) == {"small-test"}


def test_without_a_test_split_the_held_out_images_are_the_test(folder: Path) -> None:
    report = checked(folder / "train")
    assert [(split.name, split.images) for split in report.splits] == [("train", 19), ("test", 5)]
    assert report.notes == ("there is no test split: 5 of 24 images are held out as test",)
    assert [finding.code for finding in report.findings] == ["small-test"]


def test_too_few_images_to_hold_any_back(folder: Path) -> None:
    for row in range(1, 12):
        for label in ("cat", "dog"):
            (folder / "train" / label / f"{row}.jpg").unlink()
    report = checked(folder / "train")
    assert {finding.code for finding in report.findings} == {"no-test", "tiny-classes"}
    assert not report.passes()


def test_a_single_class(folder: Path) -> None:
    for part in ("train", "test"):
        shutil.rmtree(folder / part / "dog")
        save_scene(folder / part / "cat" / "more.jpg", 6000 + len(part))
    save_scene(folder / "test/cat/8.jpg", 6002)
    said = found(folder)
    assert said["single-class"].severity == "error"
    assert set(said) == {"single-class", "refused"}


def planted(folder: Path, name: str, image: Image.Image, **options: Any) -> None:
    image.save(folder / "train" / "cat" / name, **options)


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def test_orientation_sizes_and_ways_of_storing(folder: Path) -> None:
    planted(folder, "turned.jpg", scene(70), exif=exif(8))
    planted(folder, "tiny.png", scene(71, (56, 60)))
    planted(folder, "long.png", scene(72, (1000, 240)))
    planted(folder, "line.png", scene(73, (24000, 30)))
    planted(folder, "print.jpg", scene(74).convert("CMYK"))
    planted(folder, "deep.png", Image.fromarray(np.asarray(scene(75).convert("L"), dtype=np.uint16) * 257))
    planted(folder, "hole.png", scene(76).convert("RGBA"))
    planted(folder, "palette.png", scene(77).quantize(64))
    planted(folder, "moving.gif", scene(78), save_all=True, append_images=[scene(79)])
    planted(folder, "named.jpg", scene(80), format="PNG")
    planted(folder, "ev\x1bil.png", scene(81))
    said = found(folder)
    expected = {
        "orientation": "turned.jpg",
        "too-elongated": "line.png",
        "elongated": "long.png",
        "cmyk": "print.jpg",
        "deep": "deep.png",
        "transparent": "hole.png",
        "suffix": "named.jpg",
        "animated": "moving.gif",
        "unprintable-names": "ev\x1bil.png",
    }
    assert {code: said[code].names for code in expected} == {
        code: (f"train/cat/{name}",) for code, name in expected.items()
    }
    assert set(said["small"].names) == {"train/cat/tiny.png", "train/cat/line.png"}
    assert "train/cat/palette.png" in said["palette"].names
    assert set(said) == {*expected, "small", "palette"}


def test_photographs_too_large_for_the_server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from adaptertune_deploy.core.images import preprocess

    monkeypatch.setattr(preprocess, "MAX_PIXELS", 600 * 500)
    monkeypatch.setattr(images, "MAX_PIXELS", 600 * 500)
    monkeypatch.setattr(images, "RESIZED_SIDE", 1)
    planted(folder, "huge.jpg", scene(90, (640, 520)))
    said = found(folder)
    assert set(said) == {"huge"}
    assert said["huge"].names == ("train/cat/huge.jpg",)


def test_every_file_is_read_once_with_progress(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reports: list[tuple[str, int, int]] = []
    checked(folder, lambda *report: reports.append(report))
    assert [report for report in reports if report[0] == "reading images"][-1] == ("reading images", 40, 40)
    assert len([report for report in reports if report[0] == "reading images"]) == 41


def test_a_split_without_a_readable_image(folder: Path) -> None:
    for path in (folder / "train").rglob("*.jpg"):
        path.write_bytes(b"broken")
    report = checked(folder)
    assert [finding.code for finding in report.findings] == ["unreadable", "untrained-classes"]
    assert report.findings[0].count == 24
    assert report.splits[0].sides == (0, 0, 0)


@pytest.mark.parametrize("layout", ["empty classes", "TIFF alone", "an empty train/"])
def test_a_folder_without_any_training_image_is_a_finding(layout: str, tmp_path: Path) -> None:
    root = tmp_path / "photos"
    train = root / "train" if layout == "an empty train/" else root
    for label in ("cat", "dog"):
        (train / label).mkdir(parents=True)
        if layout == "TIFF alone":
            scene(7).save(train / label / "1.tiff")
        if layout == "an empty train/":
            save_scene(root / "test" / label / "1.jpg", 5000)
    said = found(root)
    assert {"refused", "untrained-classes"} <= set(said)
    assert said["untrained-classes"].count == 2


def test_images_behind_a_linked_folder_are_checked_as_they_are_trained_on(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / "train" / "cat", tmp_path / "elsewhere")
    (folder / "train" / "cat").mkdir()
    (folder / "train" / "cat" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "broken.jpg").write_bytes(b"broken")
    (folder / "train" / "bird").mkdir()  # which training refuses, so that the check opens the folder by itself
    said = found(folder)
    assert said["refused"].severity == "error"
    assert said["unreadable"].count == 1


def test_the_real_datasets_pass(shared_data: Path) -> None:
    report = check(open_for_check("pets", shared_data / "pets"))
    assert report.passes()
    assert {finding.code for finding in report.findings} == {"small-test", "small"}
    assert checking.SplitFacts("train", 259, 0, 37, 7, 7, (133, 256, 256)) == report.splits[0]
