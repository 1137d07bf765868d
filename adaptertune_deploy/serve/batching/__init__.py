"""From accepted rows to batches on the engine: admission, fair order, deadlines, the engine's health."""
