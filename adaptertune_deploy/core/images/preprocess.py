"""Image bytes to model input: the one definition that evaluates, verifies and serves.

Decoding does what torchvision's ImageFolder does (`Image.open`, `convert("RGB")`): ICC profiles are ignored,
transparency is dropped and shows the colour beneath it, of an animation only the first frame is decoded. Two things
differ on purpose: 16-bit gray is scaled to 8 bits, where `convert` would cut every value above 255 to white, and the
EXIF orientation is followed where the PreprocessSpec says so.

The transform repeats timm.data.create_transform(is_training=False) without torch, bit for bit under one Pillow.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, UnidentifiedImageError

from adaptertune_deploy.core.errors import ImageError, RequestError
from adaptertune_deploy.core.images.image_reader import ImageReader
from adaptertune_deploy.core.images.orientation import upright
from adaptertune_deploy.core.images.pillow_state import reading_header
from adaptertune_deploy.core.spec import PreprocessSpec

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
MAX_PIXELS = 50_000_000
STRIP_PIXELS = 1_000_000
# Where nobody waits for an answer, larger photographs are read too: training, evaluation, verification.
MAX_OFFLINE_PIXELS = 400_000_000
UNKNOWN_WHITE = "of which nobody knows which one is white; convert it to 8 bits, or to Pillow's mode I;16"
RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def preprocess(data: bytes, spec: PreprocessSpec, max_pixels: int = MAX_PIXELS) -> npt.NDArray[np.float32]:
    """Return an encoded image as model input, float32 [3, H, W], normalised.

    Raises:
        ImageError: see decode and transform.
    """
    return transform(decode(data, spec.orientation, max_pixels), spec)


def decode(
    data: bytes,
    orientation: str = "exif",
    max_pixels: int = MAX_PIXELS,
    at_least: int | None = None,
    check: Callable[[], None] | None = None,
) -> Image.Image:
    """Decode a JPEG, PNG, WebP, BMP or GIF file, told apart by content, never by name; returns an RGB image.

    Args:
        data: the file's bytes.
        orientation: "exif" or "ignored"; see PreprocessSpec.
        max_pixels: largest allowed width times height; compared with the header, before anything is decoded.
        at_least: decode a JPEG at a half, a quarter or an eighth of its size, much faster, as long as its shorter
            side keeps so many pixels; None decodes every pixel.
        check: called again and again while the image is decoded; ends that by raising a RequestError.

    Raises:
        RequestError: what `check` raised.
        ImageError: 415 for bytes of no such format, 413 for too many pixels, 400 for an empty, truncated or
            damaged image.
    """
    image = _open(data, max_pixels, check)
    _check_size(image, max_pixels)
    try:
        if check is not None and isinstance(image, ImageFile.ImageFile):
            image.decodermaxblock = _block(len(data), image.width * image.height)
        if at_least is not None:
            image.draft(None, (at_least, at_least))
        image.load()
        image.info.pop("transparency", None)
        return rgb(image, orientation, check)
    except RequestError:
        raise
    except Exception as error:  # Pillow raises more than a dozen types on damaged data
        raise ImageError("the image is truncated or damaged; send it again in full") from error


def rgb(image: Image.Image, orientation: str = "exif", check: Callable[[], None] | None = None) -> Image.Image:
    """Return an image in memory as `decode` returns a file's: RGB, the way up that its EXIF says.

    Args:
        image: of any mode that Pillow turns into RGB; it stays as it is.
        orientation: "exif" or "ignored"; see PreprocessSpec.
        check: see decode.

    Raises:
        ImageError: 400 for an image without pixels, or with numbers of which nobody knows which one is white.
    """
    image.load()
    _check_pixels(image)
    exif = image.info.get("exif")  # of a PNG it may follow the pixels
    if "transparency" in image.info:
        # `convert` would carry the transparent colour along, with a warning for the usual kind of PNG.
        image = image.copy()
        del image.info["transparency"]
    image = _colours(image, check)
    # A text chunk of a PNG may bear that name too.
    return upright(image, exif) if orientation == "exif" and isinstance(exif, bytes) else image


def header(data: bytes) -> Image.Image:
    """Return an image of which only the header was read; it may have any number of pixels.

    Raises:
        ImageError: see size_of.
    """
    return _open(data, None)


def size_of(data: bytes, max_pixels: int | None = None) -> tuple[int, int]:
    """Return an image's (width, height) in pixels as they are stored, from its header alone.

    Args:
        data: the file's bytes.
        max_pixels: largest allowed width times height; None allows any.

    Raises:
        ImageError: 413 for too many pixels, 415 for bytes of no known format, 400 for an empty file or a damaged
            header.
    """
    image = _open(data, max_pixels)
    if max_pixels is not None:
        _check_size(image, max_pixels)
    return image.size


def transform(image: Image.Image, spec: PreprocessSpec) -> npt.NDArray[np.float32]:
    """Resize, crop or pad, scale and normalise: timm.data.create_transform(is_training=False).

    Args:
        image: RGB.
        spec: what the backbone was trained with.

    Returns:
        float32 [3, H, W], C-contiguous.

    Raises:
        ImageError: see served_pixels.
    """
    return normalised(served_pixels(image, spec), spec)


def served_pixels(image: Image.Image, spec: PreprocessSpec) -> npt.NDArray[np.uint8]:
    """Resize, crop or pad: all of `transform` that works on bytes.

    Args:
        image: RGB.
        spec: what the backbone was trained with.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ImageError: 400 for an image so elongated that resizing it gives over MAX_PIXELS pixels or none.
    """
    height, width = _resized_size(image.height, image.width, spec)
    if min(height, width) < 1 or height * width > MAX_PIXELS:
        raise ImageError(
            f"the image has {image.width} x {image.height} pixels, too elongated to resize; "
            "send one whose sides differ less"
        )
    if (image.height, image.width) != (height, width):
        image = image.resize((width, height), RESAMPLING[spec.interpolation])
    return np.asarray(_crop_or_pad(image, spec))


def normalised(
    pixels: npt.NDArray[np.uint8], spec: PreprocessSpec, out: npt.NDArray[np.float32] | None = None
) -> npt.NDArray[np.float32]:
    """Scale and normalise: all of `transform` that works on numbers.

    Args:
        pixels: uint8 [H, W, 3], of served_pixels.
        spec: what the backbone was trained with.
        out: where the result goes, float32 [3, H, W]; None makes room for it.

    Returns:
        float32 [3, H, W], C-contiguous.
    """
    # The order and precision of torchvision's to_tensor and normalize, on which the last bit depends.
    # Plane by plane: one fits into a core's own cache.
    result = np.empty((3, *pixels.shape[:2]), dtype=np.float32) if out is None else out
    for channel, plane in enumerate(result):
        np.divide(pixels[:, :, channel], np.float32(255), out=plane, dtype=np.float32)
        plane -= np.float32(spec.mean[channel])
        plane /= np.float32(spec.std[channel])
    return result


def _block(size: int, pixels: int) -> int:
    """Return how many bytes to decode at a time: about those of a quarter of a megapixel."""
    return min(max(size * 250_000 // max(1, pixels), 512), ImageFile.MAXBLOCK)


def _open(data: bytes, max_pixels: int | None, check: Callable[[], None] | None = None) -> Image.Image:
    """Read an image's header; no pixel is decoded. More pixels than the header may name are refused by Pillow."""
    if not data:
        raise ImageError("the image is empty (0 bytes); send a JPEG, PNG, WebP, BMP or GIF file")
    try:
        with reading_header(max_pixels):
            return Image.open(ImageReader(data, check), formats=FORMATS)
    except RequestError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(_too_many("far too many", max_pixels or MAX_PIXELS), status=413) from error
    except UnidentifiedImageError as error:
        raise ImageError("the data is not a JPEG, PNG, WebP, BMP or GIF image", status=415) from error
    except Exception as error:  # Pillow raises more than a dozen types on damaged data
        raise ImageError("the image's header is damaged; send it again in full") from error


def _check_size(image: Image.Image, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise ImageError(_too_many(f"{image.width} x {image.height}", max_pixels), status=413)


def _too_many(found: str, limit: int) -> str:
    return f"the image has {found} pixels, expected at most {limit:,} in all; send a smaller one"


def _colours(image: Image.Image, check: Callable[[], None] | None) -> Image.Image:
    """Return an image as RGB; a large one strip by strip where there is something to check between."""
    if image.mode == "RGB":
        return image
    if check is None or image.width * image.height <= STRIP_PIXELS:
        return (_eight_bits(image) if image.mode.startswith("I") else image).convert("RGB")
    result = Image.new("RGB", image.size)
    step = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, step):
        check()
        strip = image.crop((0, top, image.width, min(top + step, image.height)))
        result.paste(_colours(strip, None), (0, top))
    return result


def _check_pixels(image: Image.Image) -> None:
    if 0 in image.size:
        raise ImageError(f"the image has {image.width} x {image.height} pixels; send one with some")
    if image.mode == "F":
        raise ImageError(f"the image holds 32-bit floats, {UNKNOWN_WHITE}")
    if image.mode == "I" and image.format != "PNG":  # as which some versions of Pillow open a PNG of 16 bits
        raise ImageError(f"the image holds 32-bit integers, {UNKNOWN_WHITE}")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit gray to 8-bit gray: divided by 257, rounded to nearest."""
    deep = np.asarray(image).astype(np.uint16)
    quotient = deep // np.uint16(257)
    quotient += deep - quotient * np.uint16(257) > 128
    return Image.fromarray(quotient.astype(np.uint8))


def _resized_size(height: int, width: int, spec: PreprocessSpec) -> tuple[int, int]:
    """Return (height, width) after timm's resize; timm.data.transforms_factory.transforms_imagenet_eval."""
    target = (math.floor(spec.size[0] / spec.crop_pct), math.floor(spec.size[1] / spec.crop_pct))
    if spec.crop_mode == "squash":
        return target
    if spec.crop_mode == "center" and target[0] == target[1]:
        # torchvision.transforms.functional._compute_resized_output_size
        side = target[0]
        return (int(side * height / width), side) if width <= height else (side, int(side * width / height))
    # timm.data.transforms.ResizeKeepRatio
    ratios = (height / target[0], width / target[1])
    ratio = max(ratios) if spec.crop_mode == "border" else min(ratios)
    return round(height / ratio), round(width / ratio)


def _crop_or_pad(image: Image.Image, spec: PreprocessSpec) -> Image.Image:
    """Cut the centre out, or pad around it: torchvision's center_crop, timm's center_crop_or_pad."""
    height, width = spec.size
    fill = tuple(round(255 * value) for value in spec.mean) if spec.crop_mode == "border" else (0, 0, 0)
    canvas = Image.new("RGB", (width, height), fill)
    canvas.paste(image, (_offset(image.width, width), _offset(image.height, height)))
    return canvas


def _offset(found: int, wanted: int) -> int:
    """Return where an axis of `found` pixels starts on one of `wanted`; both roundings are torchvision's."""
    return (wanted - found) // 2 if found <= wanted else -round((found - wanted) / 2)
