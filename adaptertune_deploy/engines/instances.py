"""Runs at the same time on one engine: on one set of weights and one bank, so only what a run needs is there twice."""

from __future__ import annotations

from dataclasses import replace

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.engines.table import entry_of


def for_instances(options: EngineOptions, instances: int, cores: int) -> EngineOptions:
    """Return options for an engine on which so many runs go on at the same time.

    Args:
        options: of one run; where they say no number of threads, the cores are shared out.
        instances: runs.
        cores: that this process may use.

    Raises:
        UsageError: no such engine, or a setting of the engine's own that allows another number of runs.
    """
    if instances == 1:
        return options
    entry, settings = entry_of(options.engine), dict(options.settings)
    if entry.at_once:
        typed = settings.setdefault(entry.at_once, str(instances))
        if typed != str(instances):
            raise UsageError(f"-E {entry.at_once}={typed}: does not go with --instances {instances}; leave out one")
    threads = options.threads or max(1, cores // instances)
    return replace(options, threads=threads * (instances if entry.threads_of_all else 1), settings=settings)
