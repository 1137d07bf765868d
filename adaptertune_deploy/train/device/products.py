"""Whether a CPU multiplies matrices faster in bfloat16 than in float32, by trying.

Instructions don't tell. With AMX, and with AVX-512 BF16 on an AMD EPYC, bfloat16 is faster; on an Intel Xeon with
AVX-512 BF16 whose AMX is hidden, as virtual machines do, it is slower than float32.
"""

from __future__ import annotations

import functools
import time

import torch
from torch.nn import functional

# As many rows as ten images of 197 tokens, in an MLP as wide as ViT-S's.
ROWS, WIDTH, HIDDEN = 1970, 384, 1536
ROUNDS = 7
# So much faster that the same machine says the same the next time.
FASTER = 1.25


@functools.cache
def bf16_is_faster() -> bool:
    """Return whether products in bfloat16 are at least FASTER times as fast as in float32; takes about 0.1 s, once."""
    seconds = shortest_seconds(torch.float32, torch.bfloat16)
    return seconds[torch.float32] >= FASTER * seconds[torch.bfloat16]


@torch.no_grad()
def shortest_seconds(*dtypes: torch.dtype) -> dict[torch.dtype, float]:
    """Return for each dtype the shortest time of a product, in seconds.

    They take turns, and what else the machine does can only make a product longer.
    """
    sides = {dtype: (torch.ones(ROWS, WIDTH, dtype=dtype), torch.ones(HIDDEN, WIDTH, dtype=dtype)) for dtype in dtypes}
    taken: dict[torch.dtype, list[float]] = {dtype: [] for dtype in dtypes}
    for _ in range(ROUNDS):
        for dtype, (rows, weight) in sides.items():
            began = time.perf_counter()
            functional.linear(rows, weight)
            taken[dtype].append(time.perf_counter() - began)
    return {dtype: min(times) for dtype, times in taken.items()}
