"""One frozen vision backbone, many tasks: train, export and serve AdapterTune adapters."""

__version__ = "0.1.0"
