"""Fit a linear probe and adapters for one task, let cross-validation choose, and report what was measured."""
