"""The rank that a task needs, found by cross-validation."""
