"""Outlines of the geometric figures that the shapes dataset draws, around (0, 0) within about radius 1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]

SMOOTH = 48


def _arc(radius: float, start: float, stop: float, points: int = SMOOTH) -> Points:
    angles = np.linspace(start, stop, points)
    return np.stack((radius * np.cos(angles), radius * np.sin(angles)), axis=1)


def _polygon(corners: int) -> Points:
    return _arc(1.0, 0.0, 2 * np.pi * (corners - 1) / corners, corners)


def _star() -> Points:
    radii = np.where(np.arange(10) % 2, 0.42, 1.05)[:, None]
    return _polygon(10) * radii


def _cross() -> Points:
    near, far = 0.32, 0.95
    arm = [(near, far), (near, near), (far, near)]
    corners = [
        (x * sx, y * sy) for sx, sy, step in ((1, 1, 1), (1, -1, -1), (-1, -1, 1), (-1, 1, -1)) for x, y in arm[::step]
    ]
    return np.array(corners)


def _crescent() -> Points:
    outer = _arc(1.0, 0.25 * np.pi, 1.75 * np.pi)
    inner = _arc(0.78, 1.70 * np.pi, 0.30 * np.pi) + np.array((0.28, 0.0))
    return np.concatenate((outer, inner))


def _arrow() -> Points:
    return np.array([(-1.0, -0.24), (0.1, -0.24), (0.1, -0.68), (1.05, 0.0), (0.1, 0.68), (0.1, 0.24), (-1.0, 0.24)])


def _heart() -> Points:
    t = np.linspace(0, 2 * np.pi, SMOOTH)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack((x, -y - 2.5), axis=1) / 16


# Name -> outline; a figure with a hole has its second outline in HOLES.
OUTLINES: dict[str, Callable[[], Points]] = {
    "arrow": _arrow,
    "circle": lambda: _arc(0.92, 0, 2 * np.pi),
    "crescent": _crescent,
    "cross": _cross,
    "heart": _heart,
    "hexagon": lambda: _polygon(6),
    "ring": lambda: _arc(1.0, 0, 2 * np.pi),
    "square": lambda: _polygon(4),
    "star": _star,
    "triangle": lambda: _polygon(3),
}
HOLES: dict[str, Callable[[], Points]] = {"ring": lambda: _arc(0.55, 0, 2 * np.pi)}
