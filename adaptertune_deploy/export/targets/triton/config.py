"""config.pbtxt: protobuf's text format for Triton's ModelConfig (github.com/triton-inference-server/common)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, Union

from adaptertune_deploy.engines.options import gpu_index

WAITING = 128  # requests that wait at most; Triton answers 503 beyond


@dataclass(frozen=True)
class Word:
    """A name of an enumeration, or true or false: written without quotes."""

    name: str


Value: TypeAlias = Union[str, int, Word, "Message", Sequence[Union[int, "Message"]]]
Message: TypeAlias = Mapping[str, Value]


def text(message: Message) -> str:
    """Return a message as text, one field a line; a sequence is a repeated field."""
    return "\n".join(_lines(message, "")) + "\n"


def _lines(message: Message, indent: str) -> list[str]:
    lines = []
    for name, value in message.items():
        for entry in value if isinstance(value, Sequence) and not isinstance(value, str) else [value]:
            if isinstance(entry, Mapping):
                lines += [f"{indent}{name} {{", *_lines(entry, f"{indent}  "), f"{indent}}}"]
            else:
                lines.append(f"{indent}{name}: {entry.name if isinstance(entry, Word) else json.dumps(entry)}")
    return lines


def tensor(name: str, kind: str, dims: Sequence[int], labels: str = "") -> Message:
    """Return an input or output, its batch axis left out.

    Args:
        name: of the tensor.
        kind: "FP32", "FP16" or "STRING".
        dims: -1 for a size that varies.
        labels: file of the labels, beside config.pbtxt; "" for none.
    """
    named: Message = {"label_filename": labels} if labels else {}
    return {"name": name, "data_type": Word(f"TYPE_{kind}"), "dims": list(dims), **named}


def queue() -> Message:
    """Return dynamic batching: what waits is batched at once, and no request waits for others that may come."""
    return {"default_queue_policy": {"max_queue_size": WAITING}}


def instance(device: str) -> Message:
    """Return where a model runs, one instance; see engines.options.EngineOptions for the device's names."""
    gpu = gpu_index(device)
    if gpu is None:
        return {"kind": Word("KIND_CPU"), "count": 1}
    return {"kind": Word("KIND_GPU"), "count": 1, "gpus": [gpu]}
