"""Names of the training presets, known before torch is imported; data.batches.augment says what they do."""

from __future__ import annotations

# "auto" takes what the dataset says, for images of one's own what suits their size.
AUTO = "auto"
PRESETS = ("fine", "small", "shapes", "signs", "digits", "digits-in-scene", "plain")
