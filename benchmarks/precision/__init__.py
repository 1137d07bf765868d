"""Precisions of graphs on engines: how far answers move, and what a run takes."""
