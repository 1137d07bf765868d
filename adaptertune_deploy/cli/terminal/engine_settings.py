"""What the help of a command says of every engine, and of the settings that it alone has."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adaptertune_deploy.engines.options import Setting

SETTING = "--engine-option"
PLACES = {"cpu": "the CPU", "cuda": "NVIDIA GPUs"}


def describe() -> Iterator[tuple[str, str, list[Setting]]]:
    """Yield what the help says of every engine: its key, what it runs on, and the settings that no other one has."""
    from adaptertune_deploy.engines.options import settings_of
    from adaptertune_deploy.engines.table import ENGINES

    told: dict[type, str] = {}
    for name, entry in ENGINES.items():
        devices = " and ".join(PLACES[device] for device in entry.devices if device in PLACES)
        made = "".join(f", makes {precision} of fp32 graphs" for precision in sorted(entry.derives))
        same = told.setdefault(entry.settings, name)
        text = f"{entry.label}: {devices}{made}"
        if same == name:
            yield name, text, [*settings_of(entry.settings).values()]
        else:
            yield name, f"{text}; settings of {same}", []
