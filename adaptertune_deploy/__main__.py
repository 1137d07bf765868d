"""Let `python -m adaptertune_deploy` be the command atd."""

from __future__ import annotations

from adaptertune_deploy.cli.main import run

if __name__ == "__main__":
    run()
