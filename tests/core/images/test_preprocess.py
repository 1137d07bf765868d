"""core.images.preprocess.transform against timm's own transform, to the last bit."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from adaptertune_deploy.core.errors import ImageError, RequestError
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.core.spec import CROP_MODES, INTERPOLATIONS, PreprocessSpec
from tests.builders import encode, make_image, make_preprocess_spec

torch = pytest.importorskip("torch", reason="timm and torchvision are what the numbers are compared with")
timm_data = pytest.importorskip("timm.data")
pil_loader = pytest.importorskip("torchvision.datasets.folder").pil_loader

SPECS = (
    make_preprocess_spec((224, 224), 0.9, "center", "bicubic"),
    make_preprocess_spec((224, 224), 0.875, "center", "bilinear"),
    make_preprocess_spec((224, 224), 1.0, "squash", "bicubic"),
    make_preprocess_spec((96, 160), 0.95, "center", "lanczos"),
    make_preprocess_spec((224, 224), 0.95, "border", "bicubic"),
)


@pytest.fixture(autouse=True)
def one_torch_thread() -> Iterator[None]:
    """Tensors this small gain nothing from threads, which on a busy machine wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def timm_transform(image: Image.Image, spec: PreprocessSpec) -> np.ndarray:
    transform = timm_data.create_transform(
        input_size=(3, *spec.size),
        is_training=False,
        interpolation=spec.interpolation,
        mean=spec.mean,
        std=spec.std,
        crop_pct=spec.crop_pct,
        crop_mode=spec.crop_mode,
    )
    return transform(image).numpy()


def test_generated_images_match_timm_to_the_last_bit() -> None:
    for spec in SPECS:
        for seed, (width, height) in enumerate([(500, 375), (375, 500), (32, 32), (224, 224), (1200, 80), (7, 5)]):
            image = make_image(width, height, seed)
            ours = preprocess.transform(image, spec)
            assert ours.dtype == np.float32
            assert ours.shape == (3, *spec.size)
            assert ours.flags.c_contiguous
            np.testing.assert_array_equal(ours, timm_transform(image, spec), strict=True)


@pytest.mark.case("D14", "any preprocessing of timm's", "the same values to the bit")
@given(
    image=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)) | st.integers(1, 40).map(lambda side: (side, side)),
    crop_pct=st.sampled_from([0.875, 0.9, 0.95, 1.0]) | st.floats(0.1, 1.0),
    crop_mode=st.sampled_from(CROP_MODES),
    interpolation=st.sampled_from(INTERPOLATIONS),
    mean=st.tuples(*[st.floats(0, 1)] * 3),
    std=st.tuples(*[st.floats(0.01, 2)] * 3),
)
def test_every_spec_matches_timm_to_the_last_bit(
    image: tuple[int, int],
    size: tuple[int, int],
    crop_pct: float,
    crop_mode: str,
    interpolation: str,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> None:
    spec = PreprocessSpec(size, crop_pct, crop_mode, interpolation, mean, std)
    picture = make_image(*image)
    try:
        expected = timm_transform(picture, spec)
    except ValueError:  # a side that rounds to nothing
        with pytest.raises(ImageError, match="elongated"):
            preprocess.transform(picture, spec)
        return
    np.testing.assert_array_equal(preprocess.transform(picture, spec), expected, strict=True)


@pytest.mark.case("D14", "210 photographs", "the same values to the bit")
@pytest.mark.parametrize(
    "pattern",
    ["pets/**/*.jpg", "flowers/**/*.jpg", "cifar10/test/**/*.jpg"],
    ids=["pets", "flowers", "cifar10"],
)
def test_photographs_match_the_training_transform_to_the_last_bit(shared_data: Path, pattern: str) -> None:
    files = sorted(shared_data.glob(pattern))[::3][:70]
    assert len(files) == 70
    for index, file in enumerate(files):
        spec = SPECS[index % len(SPECS)]
        expected = timm_transform(pil_loader(file), spec)
        np.testing.assert_array_equal(preprocess.preprocess(file.read_bytes(), spec), expected, strict=True)


@pytest.mark.case("D14", "wrong interpolations and crops", "noticed by this comparison")
def test_a_wrong_interpolation_or_crop_would_be_noticed() -> None:
    image = make_image(300, 200)
    right = timm_transform(image, make_preprocess_spec(crop_pct=0.9, crop_mode="center", interpolation="bicubic"))
    mutants = [
        *(make_preprocess_spec(interpolation=name) for name in INTERPOLATIONS if name != "bicubic"),
        *(make_preprocess_spec(crop_mode=mode) for mode in CROP_MODES if mode != "center"),
        make_preprocess_spec(crop_pct=0.875),
    ]
    for mutant in mutants:
        assert not np.array_equal(preprocess.transform(image, mutant), right), mutant


@pytest.mark.case("D8", "1 x 1, 3 x 3, 1 x 100 pixels", "the training transform's values to the bit")
@pytest.mark.parametrize("size", [(1, 1), (3, 3), (1, 100), (100, 1), (2, 90)])
@pytest.mark.parametrize("crop_mode", CROP_MODES)
def test_tiny_and_narrow_images_match_timm(size: tuple[int, int], crop_mode: str) -> None:
    spec = make_preprocess_spec((224, 224), crop_mode=crop_mode)
    image = make_image(*size)
    np.testing.assert_array_equal(preprocess.transform(image, spec), timm_transform(image, spec), strict=True)


@pytest.mark.case("D8", "1 x 20,000 pixels", "400")
@pytest.mark.parametrize("size", [(1, 20_000), (20_000, 1)])
@pytest.mark.parametrize("crop_mode", ["center", "border"])
def test_an_image_that_resizes_to_gigabytes_or_to_nothing_is_refused(size: tuple[int, int], crop_mode: str) -> None:
    spec = make_preprocess_spec((224, 224), crop_mode=crop_mode)
    with pytest.raises(ImageError, match=f"{size[0]} x {size[1]} pixels, too elongated") as caught:
        preprocess.transform(make_image(*size), spec)
    assert caught.value.status == 400


def test_transform_is_its_two_halves() -> None:
    for spec in SPECS:
        image = make_image(300, 200)
        pixels = preprocess.served_pixels(image, spec)
        assert (pixels.dtype, pixels.shape) == (np.uint8, (*spec.size, 3))
        values = preprocess.normalised(pixels, spec)
        assert values.flags.c_contiguous
        np.testing.assert_array_equal(values, timm_transform(image, spec), strict=True)


@pytest.mark.parametrize("orientation", ["exif", "ignored"])
def test_preprocess_turns_as_the_spec_says(orientation: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    data = encode(make_image(90, 70), "JPEG", exif=exif)
    spec = replace(SPECS[0], orientation=orientation)
    with Image.open(io.BytesIO(data)) as stored:
        image = ImageOps.exif_transpose(stored) if orientation == "exif" else stored
        expected = timm_transform(image.convert("RGB"), SPECS[0])
    np.testing.assert_array_equal(preprocess.preprocess(data, spec), expected, strict=True)


def test_preprocess_is_decode_then_transform() -> None:
    data = encode(make_image(90, 70), "JPEG")
    expected = timm_transform(preprocess.decode(data), SPECS[0])
    np.testing.assert_array_equal(preprocess.preprocess(data, SPECS[0]), expected, strict=True)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_a_check_sees_every_block_and_changes_no_pixel(kind: str) -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (300, 300, 3), dtype=np.uint8))
    data = encode(noise, kind)
    seen = []
    found = preprocess.decode(data, check=lambda: seen.append(1))
    np.testing.assert_array_equal(np.asarray(found), np.asarray(preprocess.decode(data)))
    assert seen


@pytest.mark.case("D1", "6 kB that hold 49 megapixels", "decoded in many blocks, each of which may be the last")
def test_a_small_file_of_many_pixels_is_decoded_in_many_blocks() -> None:
    data = encode(Image.new("1", (7000, 7000)))
    assert len(data) < 10_000
    seen = []

    def check() -> None:
        seen.append(1)
        if len(seen) > 10:
            raise RequestError("enough")

    with pytest.raises(RequestError, match=r"^enough$"):
        preprocess.decode(data, check=check)


def test_a_size_is_checked_where_a_limit_is_given() -> None:
    data = encode(Image.new("L", (20, 10)))
    assert preprocess.size_of(data, 200) == preprocess.size_of(data) == (20, 10)
    with pytest.raises(ImageError, match="20 x 10 pixels, expected at most 199") as caught:
        preprocess.size_of(data, 199)
    assert caught.value.status == 413


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_colours_made_strip_by_strip_are_the_same(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(2).integers(0, 65_536, (61, 50)).astype(np.uint16)
    image = Image.fromarray(values) if mode == "I;16" else Image.fromarray((values >> 8).astype(np.uint8)).convert(mode)
    data = encode(image)
    whole = preprocess.decode(data)
    monkeypatch.setattr(preprocess, "STRIP_PIXELS", 170)
    checks: list[int] = []
    np.testing.assert_array_equal(preprocess.decode(data, check=lambda: checks.append(1)), whole)
    assert len(checks) > 61 // 3
