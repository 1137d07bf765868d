"""Graphs of other precisions, made out of the traced float32 graph."""
