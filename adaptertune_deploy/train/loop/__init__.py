"""The training loop: its batches, its steps, and what they prove."""
