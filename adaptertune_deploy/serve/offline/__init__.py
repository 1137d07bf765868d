"""Answers and features without a server: for `atd predict` and for Python."""
