"""A line a step, for people and programs that watch a training."""
