"""Which libraries the package's extras bring, and which extras a command needs; pyproject.toml declares the same."""

from __future__ import annotations

from collections.abc import Mapping

# extra -> its distributions
EXTRAS: Mapping[str, tuple[str, ...]] = {
    "cpu": ("onnxruntime",),
    "gpu": ("onnxruntime-gpu",),
    "train": ("matplotlib", "PyYAML", "scikit-learn", "scipy", "threadpoolctl", "timm", "torch", "torchvision"),
    "export": ("onnx", "onnx-ir", "onnxscript", "timm", "torch", "torchvision"),
    "openvino": ("openvino",),
    "tensorrt": ("cuda-bindings", "tensorrt-cu13"),
    "tensorrt-rtx": ("cuda-bindings", "tensorrt-rtx"),
    "grpc": ("grpcio", "protobuf"),
    "plot": ("matplotlib",),
    "hf": ("datasets",),
    "parquet": ("pyarrow",),
    "ray": ("ray",),
    "tensorboard": ("tensorboardX",),
}
# Any one of these lets atd predict, serve and add work.
ENGINE_EXTRAS = ("cpu", "gpu", "openvino", "tensorrt", "tensorrt-rtx")
# command -> the extras that it needs, besides any engine
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "train": ("train",),
    "evaluate": ("train",),
    "export": ("export",),
    "add --merge": ("export",),
    "upgrade": ("export",),
    "serve --grpc-port": ("grpc",),
    "serve --ray": ("ray",),
    "quickstart": ("cpu", "train", "export"),
    "train --dataset hf:OWNER/NAME": ("hf",),
    "train --dataset LIST.parquet": ("parquet",),
    "train --log tensorboard": ("tensorboard",),
}


def extras_of(words: list[str]) -> tuple[str, ...]:
    """Return the extras that a command line may lack, () where its first command needs none."""
    for word in words:
        for command, extras in COMMANDS.items():
            if command.split()[0] == word:
                return extras
    return ()
