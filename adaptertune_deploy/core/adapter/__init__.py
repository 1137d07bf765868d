"""The folder adapters/<task>/ and what its tensors mean: candidates, ranks, heads, the bank of many tasks."""
