"""The batch files of CIFAR-10 and CIFAR-100: pickles, read without unpickling.

A pickle is a program that builds objects by calling whatever it names. Here its instructions are read
(pickletools.genops runs none of them) and followed only as far as dicts, lists, tuples, strings and integers go; what
would be a call stays a note of what was to be called with what. The one array of a batch is such a note, and is read
from its fields. The files were written by Python 2 (protocol 2), whose strings are bytes.

https://www.cs.toronto.edu/~kriz/cifar.html, "Python version".
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.core.storage import files
from adaptertune_deploy.data.samples import Pixels

LARGEST = 1 << 29  # bytes; the largest real file, CIFAR-100's train, has 155 MB
SIDE = 32
# An opcode's argument is the value: strings of Python 2 come as text with one character a byte.
VALUES = {
    "BINSTRING", "SHORT_BINSTRING", "BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES",
    "BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1",
}  # fmt: skip
CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple,
}  # fmt: skip
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
ARRAYS = ("numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct")


@dataclass(eq=False)
class Call:
    """A call that the file asks for and that is not made.

    what: "module name" of what would be called.
    arguments: as they stand in the file.
    state: what would be given to the result afterwards.
    """

    what: str
    arguments: Any = None
    state: Any = None


_MARK = object()


def read_batch(path: Path) -> dict[str, Any]:
    """Return a batch file's dict: of texts, integers, lists of them, and the images as a Call (see `images`).

    Raises:
        DatasetError: absent, damaged, or no such file.
    """
    try:
        batch = _follow(files.read_regular(path, LARGEST))
        if not isinstance(batch, dict):
            raise TypeError(type(batch).__name__)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise DatasetError(
            f"{path}: is damaged or no batch of CIFAR ({type(error).__name__}: {error!s:.60}); get it again"
        ) from None
    return batch


def images(batch: dict[str, Any], path: Path) -> Pixels:
    """Return the images of a batch, uint8 [N, 32, 32, 3] RGB.

    Raises:
        DatasetError: the batch holds no array of such images.
    """
    data = batch.get("data")
    try:
        if not isinstance(data, Call) or data.what not in ARRAYS:
            raise TypeError("no array")
        _, shape, dtype, fortran, raw = data.state
        if dtype.what != "numpy dtype" or dtype.arguments[0] != "u1" or fortran or shape[1:] != (3 * SIDE * SIDE,):
            raise TypeError(f"an array of {dtype.arguments[0]} {shape}")
        pixels = np.frombuffer(_bytes(raw), dtype=np.uint8).reshape(shape[0], 3, SIDE, SIDE)
    except (TypeError, ValueError, AttributeError, LookupError) as error:
        raise DatasetError(f"{path}: holds no images of CIFAR ({error!s:.80}); get it again") from None
    return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))


def _bytes(value: Any) -> bytes:
    """Return a string of the file as bytes; Python 3 writes bytes in protocol 2 as a call of _codecs.encode."""
    if isinstance(value, Call) and value.what == "_codecs encode":
        value = value.arguments[0]
    return value if isinstance(value, bytes) else str(value).encode("latin-1")


def _follow(data: bytes) -> Any:
    """Follow a pickle's instructions and return what it describes; nothing that it names is looked up or called."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    instructions: Iterable[tuple[pickletools.OpcodeInfo, Any, Any]] = pickletools.genops(data)
    for opcode, argument, _ in instructions:
        name = opcode.name
        if name in VALUES:
            stack.append(argument)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name]())
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            memo[int(argument)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(memo[int(argument)])
        elif name == "MARK":
            stack.append(_MARK)
        elif name == "STOP":
            return stack.pop()
        elif name != "PROTO":
            _build(name, argument, stack)
    raise ValueError("it has no end")


def _build(name: str, argument: Any, stack: list[Any]) -> None:
    if name in TUPLES:
        stack[-TUPLES[name] :] = [tuple(stack[-TUPLES[name] :])]
    elif name == "TUPLE":
        stack.append(tuple(_since_mark(stack)))
    elif name in ("APPEND", "APPENDS"):
        values = [stack.pop()] if name == "APPEND" else _since_mark(stack)
        stack[-1].extend(values)
    elif name in ("SETITEM", "SETITEMS"):
        values = [stack.pop(-2), stack.pop()] if name == "SETITEM" else _since_mark(stack)
        stack[-1].update(zip(values[::2], values[1::2], strict=True))
    elif name == "GLOBAL":
        stack.append(Call(argument))
    elif name == "REDUCE":
        arguments, called = stack.pop(), stack.pop()
        stack.append(Call(called.what, arguments))
    elif name == "BUILD":
        state = stack.pop()
        stack[-1].state = state
    else:
        raise ValueError(f"instruction {name}")


def _since_mark(stack: list[Any]) -> list[Any]:
    """Take what lies above the last mark, and the mark, from the stack."""
    start = len(stack) - 1 - stack[::-1].index(_MARK)
    values = stack[start + 1 :]
    del stack[start:]
    return values
