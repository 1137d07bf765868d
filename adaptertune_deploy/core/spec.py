"""The values that travel between training, export and serving; each checks itself."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, fields

from adaptertune_deploy.core.storage.records import LATER, NOTED

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
CROP_MODES = ("center", "squash", "border")
ORIENTATIONS = ("exif", "ignored")
FLOAT32_MAX = 3.4028234663852886e38
# No timm model comes near these; they keep a damaged file from asking for all the memory there is.
MAX_SIDE = 4096
MAX_RESIZED_PIXELS = 50_000_000
MAX_COUNT = 1 << 16
MIN_TEMPERATURE = 1e-6
TASK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# A server offers every task under a second name too, which ends so and takes pixels in place of encoded images.
TENSOR_SUFFIX = "__tensor"


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _fits_float32(*values: float) -> bool:
    return all(math.isfinite(value) and abs(value) <= FLOAT32_MAX for value in values)


def check_sha256(text: str) -> None:
    """Raise ValueError unless `text` is a SHA-256 in hexadecimal digits."""
    _check(re.fullmatch(r"[0-9a-f]{64}", text) is not None, f"sha256 {text!r:.80} must be 64 hexadecimal digits")


def check_task_name(name: str) -> None:
    """Raise ValueError unless `name` is a safe file name of 1 to 64 characters without TENSOR_SUFFIX at its end."""
    _check(
        TASK_NAME.fullmatch(name) is not None and ".." not in name,
        f"task name {name!r:.80} must be 1 to 64 letters, digits, '.', '_' or '-', starting with a letter or digit",
    )
    _check(
        not name.endswith(TENSOR_SUFFIX),
        f"task name {name!r:.80} ends in {TENSOR_SUFFIX}, which names the model of a task that takes tensors",
    )


def check_temperature(value: float) -> None:
    """Raise ValueError unless `value` can divide logits."""
    _check(
        _fits_float32(value) and value >= MIN_TEMPERATURE,
        f"temperature {value} must be a float32 number from {MIN_TEMPERATURE:g}",
    )


def _short(value: object) -> str:
    """Return a value for a message: a hash by its start, a size as people write it."""
    if isinstance(value, str) and len(value) == 64:
        return f"{value[:12]}..."
    return " x ".join(map(str, value)) if isinstance(value, tuple) else f"{value!s:.80}"


def _check_size(name: str, size: tuple[int, int]) -> None:
    _check(all(0 < side <= MAX_SIDE for side in size), f"{name} {size} must lie between 1 and {MAX_SIDE} pixels a side")


@dataclass(frozen=True)
class PreprocessSpec:
    """How image bytes become the model's input: timm's evaluation transform (timm.data.create_transform).

    size: (height, width) of the input in pixels.
    crop_pct: share of the resized image's side that the crop keeps, 0 < crop_pct <= 1.
    crop_mode: "center" resizes the shorter side and crops, "squash" resizes both sides, "border" fits and pads.
    interpolation: "nearest", "bilinear", "bicubic" or "lanczos", in Pillow's meaning (antialiased).
    mean, std: per RGB channel, for pixels scaled to 0..1.
    orientation: "exif" turns an image as its EXIF says, so that the model sees what people see; "ignored" takes the
        pixels as they are stored, which is what files without this field mean.
    """

    size: tuple[int, int]
    crop_pct: float
    crop_mode: str
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    orientation: str = field(default="ignored", metadata=LATER)

    def __post_init__(self) -> None:
        _check_size("size", self.size)
        _check(
            self.orientation in ORIENTATIONS,
            f"orientation '{self.orientation}' must be one of {', '.join(ORIENTATIONS)}",
        )
        _check(0 < self.crop_pct <= 1, f"crop_pct {self.crop_pct} must lie in (0, 1]")
        resized = self.size[0] / self.crop_pct * (self.size[1] / self.crop_pct)
        _check(
            resized <= MAX_RESIZED_PIXELS,
            f"crop_pct {self.crop_pct} resizes every image to {resized:.1e} pixels, expected at most "
            f"{MAX_RESIZED_PIXELS:,}",
        )
        _check(
            self.crop_mode in CROP_MODES,
            f"crop_mode '{self.crop_mode}' must be one of {', '.join(CROP_MODES)}",
        )
        _check(
            self.interpolation in INTERPOLATIONS,
            f"interpolation '{self.interpolation}' must be one of {', '.join(INTERPOLATIONS)}",
        )
        _check(_fits_float32(*self.mean), f"mean {self.mean} must be finite float32 numbers")
        _check(_fits_float32(*self.std) and min(self.std) >= 1e-6, f"std {self.std} must be float32 numbers from 1e-6")
        extremes = [(end - mean) / std for mean, std in zip(self.mean, self.std, strict=True) for end in (0, 1)]
        _check(_fits_float32(*extremes), f"mean {self.mean} and std {self.std} overflow float32")


@dataclass(frozen=True)
class BackboneSpec:
    """Which frozen network: its full timm name and the hash of its weights.

    name: timm name with its tag, "architecture.tag".
    width: D, channels of a token.
    depth: number of transformer blocks.
    features: input channels of the head; equals `width` unless the backbone pools by concatenation.
    image_size: (height, width) in pixels.
    sha256: of the frozen weights at the size that the name stands for, before any were resampled to `image_size`
        (model.backbone.weights_sha256).
    pool: how tokens become features, in timm's words: "token", "avg", "map", ...; "" where nobody recorded it.
    patch_size: pixels of a patch's side; 0 where nobody recorded it, or where patches have no one side.
    timm: version of timm that made the network; "" where nobody recorded it.

    Random weights, which only tests use, carry the tag "random". Pooling, patch size and timm version follow from the
    rest and are no part of its identity: == and hashes leave them out. `differing` compares those that are known.
    """

    name: str
    width: int
    depth: int
    features: int
    image_size: tuple[int, int]
    sha256: str
    pool: str = field(default="", compare=False, metadata=NOTED)
    patch_size: int = field(default=0, compare=False, metadata=NOTED)
    timm: str = field(default="", compare=False, metadata=NOTED)

    def __post_init__(self) -> None:
        _check(
            all(0 < value <= MAX_COUNT for value in (self.width, self.depth, self.features)),
            f"width, depth and features must lie between 1 and {MAX_COUNT}",
        )
        _check_size("image_size", self.image_size)
        _check(0 <= self.patch_size <= MAX_SIDE, f"patch_size {self.patch_size} must lie between 0 and {MAX_SIDE}")
        check_sha256(self.sha256)

    def differing(self, other: BackboneSpec) -> tuple[str, ...]:
        """Return the names of the fields that make another backbone another one; none where it is the same one.

        A pooling or patch size that one of the two does not know fits any; timm's version is not compared.
        """
        values = {item: (getattr(self, item.name), getattr(other, item.name)) for item in fields(self)}
        return tuple(
            item.name
            for item, (mine, theirs) in values.items()
            if item.name != "timm" and mine != theirs and item.default not in (mine, theirs)
        )

    def difference(self, other: BackboneSpec) -> str:
        """Return how another backbone differs as a person reads it, "" where it is the same one."""
        values = {name: (getattr(other, name), getattr(self, name)) for name in self.differing(other)}
        return "; ".join(f"{name} {_short(theirs)}, not {_short(mine)}" for name, (theirs, mine) in values.items())


@dataclass(frozen=True)
class AdapterSpec:
    """Shape of one task's adapters: x + alpha * up(GELU(down(x))) after each listed block (arXiv 2603.14706).

    rank: r, width of the bottleneck; 0 for a head on the frozen features as they are.
    alpha: scale of the branch; stored here and folded into `up` only when a bank or graph is made.
    blocks: indices of the adapted blocks, ascending; none exactly when the rank is 0.
    init: "zero" (up and all biases zero, down Xavier-uniform).
    activation: "gelu" (the exact form with erf).
    """

    rank: int
    alpha: float
    blocks: tuple[int, ...]
    init: str = "zero"
    activation: str = "gelu"

    def __post_init__(self) -> None:
        _check(0 <= self.rank <= MAX_COUNT, f"rank {self.rank} must lie between 0 and {MAX_COUNT}")
        _check(_fits_float32(self.alpha), f"alpha {self.alpha} must be a finite float32 number")
        _check(self.rank == 0 or len(self.blocks) > 0, f"blocks must name at least one block at rank {self.rank}")
        _check(self.rank > 0 or not self.blocks, f"rank 0 adapts no block, but blocks names {self.blocks!s:.80}")
        _check(
            list(self.blocks) == sorted(set(self.blocks)) and min(self.blocks, default=0) >= 0,
            f"blocks {self.blocks} must be ascending, without repeats, from 0",
        )
        _check(self.init == "zero", f"init '{self.init}' must be 'zero'")
        _check(self.activation == "gelu", f"activation '{self.activation}' must be 'gelu'")

    @property
    def words(self) -> str:
        """What a person reads in a table: "rank 8" or "head only"."""
        return f"rank {self.rank}" if self.rank else "head only"


HEAD_ONLY = AdapterSpec(0, 1.0, ())


@dataclass(frozen=True)
class TaskSpec:
    """One classification task.

    name: also a file name.
    labels: in the order of the logits.
    adapter: shape of its adapters, HEAD_ONLY for none.
    temperature: T of the answer, head(features) / T; stored here and folded into the head only when a bank or graph is
        made (arXiv 1706.04599).
    """

    name: str
    labels: tuple[str, ...]
    adapter: AdapterSpec
    temperature: float = field(default=1.0, metadata=LATER)

    def __post_init__(self) -> None:
        check_task_name(self.name)
        _check(len(self.labels) >= 2, f"task '{self.name}' has {len(self.labels)} labels, expected at least 2")
        _check(len(set(self.labels)) == len(self.labels), f"task '{self.name}' has repeated labels")
        check_temperature(self.temperature)
