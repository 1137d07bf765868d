"""Nested adapters: one training, whose first hidden units are good adapters of smaller ranks."""
