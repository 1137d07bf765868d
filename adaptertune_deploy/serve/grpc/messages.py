"""The messages on the wire, made from their descriptors.

`make proto` compiles the files in proto/ into messages.binpb. Modules that protoc writes in Python run on few releases
of its library; classes made from descriptors run on any. They live in a pool of their own, so that a process may
import somebody else's modules of the same protocol too.
"""

from __future__ import annotations

import functools
from importlib.resources import files
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

FILE = "messages.binpb"


def descriptors() -> bytes:
    """Return the compiled files in proto/, a FileDescriptorSet."""
    return files(__package__).joinpath(FILE).read_bytes()


@functools.cache
def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptors()).file:
        pool.Add(file)
    return pool


@functools.cache
def message(name: str, package: str = "inference") -> Any:
    """Return the class of a message."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"{package}.{name}"))
