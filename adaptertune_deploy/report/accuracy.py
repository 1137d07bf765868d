"""The comparison in one picture: both candidates on the test images, and the out-of-fold gain that decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adaptertune_deploy.core.answers.significance import Z, wilson
from adaptertune_deploy.report.canvas import OTHER, QUIET, SHIPS, folded, picture

WIDTH = 8.0
TITLE_CHARACTERS, NOTE_CHARACTERS = 105, 125  # that fit on a line of this width


@dataclass(frozen=True)
class Candidate:
    """One candidate on the test images.

    name: "head alone".
    hits, images: right answers, and all of them.
    ships: whether it is the one that ships.
    seeds: accuracies of the same training with other seeds, 0..1.
    """

    name: str
    hits: int
    images: int
    ships: bool
    seeds: tuple[float, ...] = ()


@dataclass(frozen=True)
class Gain:
    """How much lower the adapter's out-of-fold loss is.

    gain, error: mean difference and its standard error, in nats.
    threshold: standard errors that are asked for.
    note: what was compared, in words.
    """

    gain: float
    error: float
    threshold: float
    note: str


def draw_accuracy(candidates: Sequence[Candidate], gain: Gain | None, title: str, notes: Sequence[str]) -> bytes:
    """Return the picture as PNG.

    Args:
        candidates: one or two, the first on top.
        gain: None where nothing was compared out of fold.
        title: what ships, in words.
        notes: sentences printed below the candidates.
    """
    text = "\n".join(folded(note, NOTE_CHARACTERS) for note in notes)
    heading = folded(title, TITLE_CHARACTERS)
    lines = text.count("\n") + heading.count("\n") + 2
    heights = [0.9 + 0.4 * len(candidates), *([0.9] if gain is not None else [])]

    def draw(figure: Any) -> None:
        axes = figure.subplots(len(heights), squeeze=False, height_ratios=heights)[:, 0]
        figure.suptitle(heading, x=0.01, ha="left", fontsize=10)
        _accuracies(axes[0], candidates)
        if gain is not None:
            _gain(axes[1], gain)
        if text:
            figure.supxlabel(text, x=0.01, ha="left", fontsize=8.5)

    return picture((WIDTH, sum(heights) + 0.7 + 0.16 * lines), draw)


def _accuracies(axes: Any, candidates: Sequence[Candidate]) -> None:
    bounds = []
    for row, candidate in enumerate(candidates):
        colour = SHIPS if candidate.ships else OTHER
        low, high = (100 * bound for bound in wilson(candidate.hits, candidate.images))
        share = 100 * candidate.hits / candidate.images
        seeds = [100 * value for value in candidate.seeds]
        axes.plot([low, high], [row, row], color=colour, lw=2.2, solid_capstyle="butt")
        axes.plot([share], [row], "o", color=colour, ms=7)
        axes.plot(seeds, [row + 0.2] * len(seeds), "o", color=colour, ms=3, alpha=0.7, mec="none")
        text = f"{candidate.hits:,} of {candidate.images:,} = {share:.1f} %"
        axes.annotate(text, (share, row), (0, 7), textcoords="offset points", ha="center", color=colour)
        bounds += [low, high, *seeds]
    names = [f"{candidate.name}{' (ships)' if candidate.ships else ''}" for candidate in candidates]
    axes.set_yticks(range(len(candidates)), names)
    axes.set_ylim(len(candidates) - 0.5, -0.65)
    room = 0.08 * max(4.0, max(bounds) - min(bounds))
    axes.set_xlim(max(-1.0, min(bounds) - room), min(101.0, max(bounds) + room))
    seeds_said = "; small dots: further seeds" if any(candidate.seeds for candidate in candidates) else ""
    axes.set_xlabel(f"right answers on the test images, %, with 95 % intervals{seeds_said}")
    axes.grid(axis="x", color="0.92")
    axes.set_axisbelow(True)


def _gain(axes: Any, gain: Gain) -> None:
    passed = gain.gain > 0 and gain.gain >= gain.threshold * gain.error
    colour, half = SHIPS if passed else OTHER, Z * gain.error
    axes.axvline(0, color=QUIET, lw=1)
    axes.plot([gain.gain - half, gain.gain + half], [0, 0], color=colour, lw=2.2, solid_capstyle="butt")
    axes.plot([gain.gain], [0], "o", color=colour, ms=7)
    axes.set_yticks([0], ["adapter's gain"])
    axes.set_ylim(-1, 1)
    reach = 1.25 * max(abs(gain.gain) + half, 1e-3)
    axes.set_xlim(-reach, reach)
    axes.set_xlabel(f"loss saved, nats, with a 95 % interval: {gain.note}")
