"""The linear probe on frozen features: candidate number zero, and the start of every adapter's head."""
