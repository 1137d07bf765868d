"""Let `python -m adaptertune_deploy` be the command atd."""

from __future__ import annotations

from adaptertune_deploy.cli.start import start

if __name__ == "__main__":
    start()
