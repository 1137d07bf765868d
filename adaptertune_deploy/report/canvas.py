"""A picture without a screen: one figure in the house's style, drawn by a function, returned as PNG."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Callable
from typing import Any

DPI = 110
# Told apart in print and by colour-blind readers: what ships, and what does not.
SHIPS, OTHER, QUIET = "#1f5fa8", "#8a8a8a", "#c8c8c8"
LONGEST_LABEL = 28


def picture(size: tuple[float, float], draw: Callable[[Any], None]) -> bytes:
    """Return a PNG.

    Args:
        size: width and height in inches, 110 pixels each.
        draw: called with an empty matplotlib Figure, which it fills.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: Any = {"font.size": 9, "axes.titlesize": 10, "axes.spines.top": False, "axes.spines.right": False}
    with rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # a script that the font lacks shows as boxes
        figure = Figure(figsize=size, dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        out = io.BytesIO()
        figure.savefig(out, format="png")
    return out.getvalue()


def short(label: str, longest: int = LONGEST_LABEL) -> str:
    """Return a label on one line, cut with an ellipsis where it is long, and never read as mathematics."""
    text = " ".join(label.split())
    return plain(text if len(text) <= longest else f"{text[: longest - 1]}…")


def plain(text: str) -> str:
    """Return text in which matplotlib finds no mathematics."""
    return text.replace("$", r"\$")


def folded(text: str, width: int) -> str:
    """Return text broken into lines of at most `width` characters."""
    return plain(textwrap.fill(text, width))
