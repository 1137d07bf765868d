from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from adaptertune_deploy.data.datasets import open_dataset
from adaptertune_deploy.data.looks import near
from adaptertune_deploy.data.looks.fingerprint import Fingerprint, fingerprint
from tests.data.scenes import scene

SURE = 7


def made(hash_: int, thumbnail: int = 0, mirrored: int | None = None, plain: bool = False) -> Fingerprint:
    """Return a fingerprint; one number gives one thumbnail, and two numbers unrelated ones."""
    data = np.random.default_rng(thumbnail).integers(0, 256, 768, dtype=np.uint8).tobytes()
    far = hash_ ^ ((1 << 63) - 1) if mirrored is None else mirrored
    return Fingerprint(b"", hash_, far, data, plain)


def naive(count: int, joined: Callable[[int, int], bool]) -> list[int]:
    """Return the lowest row of each row's component, by growing it."""
    roots = list(range(count))
    for row in range(count):
        if roots[row] == row:
            todo = [row]
            while todo:
                at = todo.pop()
                new = [other for other in range(row + 1, count) if roots[other] == other and joined(at, other)]
                todo += new
                for other in new:
                    roots[other] = row
    return roots


def bits(first: int, second: int) -> int:
    return bin(first ^ second).count("1")


@st.composite
def crowds(draw: st.DrawFn) -> list[int]:
    """Draw hashes of which many differ by a few bits: some seeds, and copies of them with bits flipped."""
    seeds = draw(st.lists(st.integers(0, (1 << 63) - 1), min_size=1, max_size=4))
    flips = st.lists(st.integers(0, 62), max_size=14)
    copies = draw(st.lists(st.tuples(st.sampled_from(seeds), flips), min_size=1, max_size=25))
    return [seed ^ sum(1 << bit for bit in set(flipped)) for seed, flipped in copies]


@given(crowds())
def test_every_pair_of_seven_bits_or_fewer_is_found_and_none_of_more_than_ten(hashes: list[int]) -> None:
    found = near.components([made(value) for value in hashes]).tolist()
    sure = naive(len(hashes), lambda a, b: bits(hashes[a], hashes[b]) <= SURE)
    most = naive(len(hashes), lambda a, b: bits(hashes[a], hashes[b]) <= near.DISTANCE)
    for row in range(len(hashes)):
        assert found[row] == found[sure[row]]
        assert most[row] == most[found[row]]


@settings(max_examples=20)
@given(crowds(), st.integers(1, 40))
def test_how_the_work_is_cut_changes_nothing(hashes: list[int], chunk: int) -> None:
    prints = [made(value) for value in hashes]
    expected = near.components(prints)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near, "CHUNK", 16 * chunk)
        assert np.array_equal(near.components(prints), expected)


@given(st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40))
def test_joining_is_what_growing_finds(pairs: list[tuple[int, int]]) -> None:
    first, second = (np.array(rows, dtype=np.int64) for rows in (zip(*pairs, strict=True) if pairs else ((), ())))
    found = near._joined(np.arange(30), first, second)
    assert found.tolist() == naive(30, lambda a, b: (a, b) in pairs or (b, a) in pairs)


def test_equal_hashes_need_equal_thumbnails_too() -> None:
    assert near.components([made(5, 1), made(5, 2), made(5, 1)]).tolist() == [0, 1, 0]


def test_many_copies_of_one_image_are_one_group_however_few_stand_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near, "STANDING", 2)
    far = (1 << 40) - 1
    hashes = [seed ^ (1 << (row % 60)) for row in range(120) for seed in (0, far)]
    found = near.components([made(value) for value in (*hashes, 0b111, far ^ 0b111)]).tolist()
    assert found == [0, 1] * 121


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=60), st.integers(1, 5))
def test_who_stands_for_a_bucket(rows: list[tuple[int, int]], most: int) -> None:
    held, roots = (np.array([row[place] for row in rows], dtype=np.int64) for place in (0, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near, "STANDING", most)
        found = near._standing(held, roots)
    assert held[found].tolist() == sorted(held[found].tolist())
    assert len(set(found.tolist())) == len(found)
    kept = Counter(rows[row] for row in found)
    assert kept == {pair: min(count, most) for pair, count in Counter(rows).items()}


def test_a_plain_image_has_no_near_copy() -> None:
    assert near.components([made(5, plain=True), made(5), made(5, plain=True), made(5)]).tolist() == [0, 1, 2, 1]
    assert near.components([]).tolist() == []


def test_the_correlation_is_pearsons() -> None:
    generator = np.random.default_rng(0)
    first, second = (generator.integers(0, 256, (5, 16, 16, 3), dtype=np.uint8) for _ in range(2))
    expected = [np.corrcoef(one.reshape(-1), two.reshape(-1))[0, 1] for one, two in zip(first, second, strict=True)]
    assert np.allclose(near._correlation(first, second), expected, atol=1e-5)


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(io.BytesIO(stream.getvalue())).convert("RGB")


def cropped(image: Image.Image, share: float) -> Image.Image:
    return ImageOps.crop(image, (round(image.width * share), round(image.height * share)) * 2)


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "re-encoded": lambda image: jpeg(image, 40),
    "halved": lambda image: image.resize((image.width // 2, image.height // 2)),
    "doubled": lambda image: image.resize((image.width * 2, image.height * 2)),
    "mirrored": ImageOps.mirror,
    "mirrored and re-encoded": lambda image: jpeg(ImageOps.mirror(image), 60),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
}


def matched(images: Sequence[Image.Image], change: Callable[[Image.Image], Image.Image]) -> list[bool]:
    """Return which images are together with their changed copy, and check that no two images are together."""
    prints = [fingerprint(image) for image in (*images, *map(change, images))]
    roots = near.components(prints).tolist()
    assert len(set(roots[: len(images)])) == len(images)
    return [roots[row] == roots[row + len(images)] for row in range(len(images))]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found(change: str) -> None:
    assert all(matched([scene(seed) for seed in range(20)], CHANGES[change]))


@pytest.mark.parametrize("change", ["re-encoded", "halved", "mirrored", "cropped by 1 %"])
def test_a_changed_copy_of_a_photograph_is_found(shared_data: Path, change: str) -> None:
    apply = CHANGES.get(change, lambda image: cropped(image, 0.01))
    files = sorted((shared_data / "pets" / "oxford-iiit-pet" / "images").glob("*.jpg"))[::6]
    found = matched([Image.open(file).convert("RGB") for file in files], apply)
    assert sum(found) >= len(found) - 1


def test_what_is_documented_as_not_found() -> None:
    for change in (lambda image: image.rotate(90, expand=True), lambda image: cropped(image, 0.15)):
        assert not any(matched([scene(seed) for seed in range(20)], change))


def test_photographs_differ_and_digits_are_alike_as_a_whole(shared_data: Path) -> None:
    files = sorted((shared_data / "cifar10" / "test").rglob("*.jpg"))[::10]
    assert not near.alike([fingerprint(Image.open(file).convert("RGB")) for file in files])
    digits = open_dataset("digits").train
    enlarged = [fingerprint(digits.image(row).resize((32, 32))) for row in range(100)]
    assert near.alike(enlarged)
    assert not near.alike(enlarged[: near.FEWEST - 1])
    assert not near.alike([fingerprint(digits.image(row)) for row in range(100)])  # plain, each of them
