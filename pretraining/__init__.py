"""Pretraining of the small embedded backbone on images drawn by formulas."""
