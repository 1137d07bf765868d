"""One frozen vision backbone, many tasks: train, export and serve AdapterTune adapters."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adaptertune_deploy.api import add_task, export_bundle, load_task, open_bundle, train_task
    from adaptertune_deploy.core.errors import AtdError
    from adaptertune_deploy.core.precision import Precision
    from adaptertune_deploy.engines.options import EngineOptions
    from adaptertune_deploy.train.request.recipe import Recipe

__version__ = "0.1.0"
__all__ = [
    "AtdError",
    "EngineOptions",
    "Precision",
    "Recipe",
    "add_task",
    "export_bundle",
    "load_task",
    "open_bundle",
    "train_task",
]
_HOMES = {
    "AtdError": "core.errors",
    "EngineOptions": "engines.options",
    "Precision": "core.precision",
    "Recipe": "train.request.recipe",
}


def __getattr__(name: str) -> object:
    """Return one of the names above; what it stands for is imported now and not with the package."""
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'api')}"), name)


def __dir__() -> list[str]:
    """Return the names, without importing what they stand for."""
    return sorted({*globals(), *__all__})
