"""Ask the NVIDIA driver whether it starts, which CUDA it runs and which devices it sees.

python -m adaptertune_deploy.doctor.probes.driver
"""

from __future__ import annotations

import json

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.cuda.driver import ask_driver


def main() -> None:
    """Print {"cuda": [major, minor], "devices": [{"name", "capability", "bytes"}]}, or {"refused": why}."""
    try:
        driver = ask_driver()
    except EngineError as error:
        print(json.dumps({"refused": str(error)}))
        return
    devices = [{"name": gpu.name, "capability": gpu.sm, "bytes": gpu.memory} for gpu in driver.gpus]
    print(json.dumps({"cuda": list(driver.cuda), "devices": devices}))


if __name__ == "__main__":
    main()
