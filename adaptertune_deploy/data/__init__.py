"""Labelled images: what there is to learn from; nothing learns here."""
