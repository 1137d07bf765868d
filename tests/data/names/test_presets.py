"""data.names.presets: the names are those of the presets that there are, and complete in a shell."""

from __future__ import annotations

from adaptertune_deploy.cli.terminal.completion import presets
from adaptertune_deploy.data.batches import augment
from adaptertune_deploy.data.names.presets import AUTO, PRESETS


def test_every_preset_has_its_name() -> None:
    assert sorted(PRESETS) == sorted(augment.PRESETS)
    assert presets("") == [AUTO, *PRESETS]
