"""Fit adapters and a head for one task, and report what was measured."""
