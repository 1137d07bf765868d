"""Findings on single images: unreadable files, sizes, orientation and the ways in which pixels are stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import median

from adaptertune_deploy.core.images.orientation import UPRIGHT
from adaptertune_deploy.core.images.preprocess import MAX_PIXELS
from adaptertune_deploy.data.findings.finding import ERROR, NOTE, WARNING, Finding, counted, first
from adaptertune_deploy.data.looks.scan import Look

# What most backbones take, and to what they resize the shorter side before they cut the centre out.
INPUT_SIDE, RESIZED_SIDE = 224, 256
ELONGATED = 3.0
SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
}
# code, which images, what is said of one and of several of them, what the product does or what to do
Rule = tuple[str, Callable[[Look], bool], str, str, str]
STORED: tuple[Rule, ...] = (
    (
        "orientation",
        lambda look: look.orientation != UPRIGHT,
        "image is stored turned or mirrored and says so by EXIF",
        "images are stored turned or mirrored and say so by EXIF",
        "training, evaluation and the server turn them upright",
    ),
    (
        "suffix",
        lambda look: look.suffix not in ("", *SUFFIXES.get(look.format, (look.suffix,))),
        "file has a suffix that contradicts its content",
        "files have suffixes that contradict their content",
        "they are read by their content; rename them, other programs go by the name",
    ),
    (
        "cmyk",
        lambda look: look.mode in ("CMYK", "YCCK"),
        "image is stored in CMYK",
        "images are stored in CMYK",
        "they are converted without a colour profile, so their colours are approximate",
    ),
    (
        "deep",
        lambda look: look.deep,
        "image has 16 bits a channel",
        "images have 16 bits a channel",
        "they are reduced to 8 bits",
    ),
    (
        "transparent",
        lambda look: look.transparent,
        "image has transparency",
        "images have transparency",
        "it is dropped, and the colour beneath it shows",
    ),
    (
        "palette",
        lambda look: look.mode == "P" and not look.transparent,
        "image has a palette",
        "images have palettes",
        "they are converted to RGB",
    ),
    (
        "animated",
        lambda look: look.animated,
        "image is animated",
        "images are animated",
        "only the first frame is used",
    ),
)


def images(looks: Sequence[Look], absent: Sequence[str] = ()) -> Iterator[Finding]:
    """Yield what to know about single images.

    Args:
        looks: all images.
        absent: names that the dataset lists and that are not there.
    """
    if absent:
        yield Finding(
            "absent",
            ERROR,
            len(absent),
            f"{counted(len(absent), 'listed image')} {'is' if len(absent) == 1 else 'are'} absent {first(absent)}",
            "get them, or go on without them: --allow-missing",
            tuple(absent),
        )
    yield from _unreadable([look for look in looks if look.error], len(looks))
    readable = [look for look in looks if not look.error]
    yield from _unprintable(looks)
    yield from _sizes(readable)
    for code, applies, one, many, done in STORED:
        found = [look.name for look in readable if applies(look)]
        if found:
            text = f"{counted(len(found), one, many)} {first(found)}"
            yield Finding(code, NOTE, len(found), text, done, tuple(found))


def _unreadable(bad: Sequence[Look], total: int) -> Iterator[Finding]:
    if bad:
        yield Finding(
            "unreadable",
            ERROR,
            len(bad),
            f"{len(bad):,} of {counted(total, 'image')} can't be read "
            f"{first([f'{look.name}: {look.error}' for look in bad])}",
            "replace or remove them, or train without them: --skip-bad",
            tuple(look.name for look in bad),
        )


def _unprintable(looks: Sequence[Look]) -> Iterator[Finding]:
    odd = [look.name for look in looks if not look.name.isprintable()]
    if odd:
        has = "has a name that" if len(odd) == 1 else "have names that"
        yield Finding(
            "unprintable-names",
            WARNING,
            len(odd),
            f"{counted(len(odd), 'file')} {has} can't be printed {first([ascii(name)[1:-1] for name in odd])}",
            "rename",
            tuple(odd),
        )


def _sizes(looks: Sequence[Look]) -> Iterator[Finding]:
    small = [look for look in looks if min(look.width, look.height) < INPUT_SIDE]
    if small:
        sides = [min(look.width, look.height) for look in small]
        usual, most = INPUT_SIDE / median(sides), INPUT_SIDE / min(sides)
        times = f"{usual:.1f} times" + (f", at most {most:.1f} times" if most > usual else "")
        yield Finding(
            "small",
            NOTE,
            len(small),
            f"{counted(len(small), 'image has', 'images have')} a shorter side below the {INPUT_SIDE} pixels that most "
            f"backbones take {first([look.name for look in small])}",
            f"they are enlarged {times}",
            tuple(look.name for look in small),
        )
    yield from _long(looks)
    huge = [look.name for look in looks if look.width * look.height > MAX_PIXELS]
    if huge:
        yield Finding(
            "huge",
            WARNING,
            len(huge),
            f"{counted(len(huge), 'image has', 'images have')} more than {MAX_PIXELS // 1_000_000} megapixels "
            f"{first(huge)}",
            "save them smaller: the server refuses such images",
            tuple(huge),
        )


def _long(looks: Sequence[Look]) -> Iterator[Finding]:
    ratios = {look.name: max(look.width, look.height) / min(look.width, look.height) for look in looks}
    never = [name for name, ratio in ratios.items() if RESIZED_SIDE * RESIZED_SIDE * ratio > MAX_PIXELS]
    if never:
        yield Finding(
            "too-elongated",
            ERROR,
            len(never),
            f"{counted(len(never), 'image is', 'images are')} too elongated to be resized to {RESIZED_SIDE} "
            f"pixels, as most backbones want it {first(never)}",
            "crop or remove them",
            tuple(never),
        )
    long = [name for name, ratio in ratios.items() if ratio > ELONGATED and name not in never]
    if long:
        most = max(ratios[name] for name in long)
        yield Finding(
            "elongated",
            NOTE,
            len(long),
            f"{counted(len(long), 'image is', 'images are')} more than {ELONGATED:.0f} times as long as wide, or as "
            f"wide as long, at most {most:.1f} times {first(long)}",
            f"the centre that a model sees is less than 1/{ELONGATED:.0f} of them",
            tuple(long),
        )
