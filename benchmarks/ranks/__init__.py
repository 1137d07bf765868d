"""Ranks of adapters: the search of `--rank auto`, and nested widths."""
