"""Opening an engine, and finding out one that is not what was asked for."""

from __future__ import annotations

import importlib
from typing import Any

from adaptertune_deploy.core.bundle import graph_facts
from adaptertune_deploy.core.errors import EngineError, UsageError, did_you_mean
from adaptertune_deploy.engines.engine import Engine
from adaptertune_deploy.engines.onnx.plain_graph import check_plain
from adaptertune_deploy.engines.options import USUAL, EngineOptions, gpu_index, parse_settings
from adaptertune_deploy.engines.table import (
    EngineEntry,
    entry_of,
    graph_precision,
    graph_precisions,
    is_installed,
    lacks,
)


def open_engine(graph: bytes, where: str, options: EngineOptions = USUAL) -> Engine:
    """Load a graph. No engine ever opens a file: what was read, and hashed, is what runs.

    Args:
        graph: the bytes of an ONNX file.
        where: the file they come from, for messages.
        options: what is asked for; see check_options.

    Raises:
        UsageError: see check_options.
        EngineError: not a plain graph (plain_graph.check_plain), the engine is not installed or refuses the graph, the
            device does not work here, or what was opened runs elsewhere or in another precision than was asked for.
    """
    entry, settings = _asked(options)
    check_plain(graph, where)
    try:
        opened: Engine = importlib.import_module(entry.module).open_graph(graph, where, options, settings)
    except EngineError:
        reason = lacks(options, options.precision)
        if reason is None:
            raise
        raise EngineError(f"{where}: {reason}; choose another --engine or --precision") from None
    try:
        _compare(opened, where, options, entry)
    except BaseException:
        opened.close()
        raise
    return opened


def check_options(options: EngineOptions) -> None:
    """Refuse what open_engine would refuse whatever the graph; imports the engine's library only where it must.

    Raises:
        UsageError: no such engine, device or setting, or another value than a setting takes.
        EngineError: the engine is not installed, or this installation of it lacks what was asked for.
    """
    entry, settings = _asked(options)
    if options.device in entry.everywhere and not options.settings and is_installed(options.engine):
        return
    importlib.import_module(entry.module).check_installed(options, settings)


def _asked(options: EngineOptions) -> tuple[EngineEntry, Any]:
    """Return the engine's line of the table and its settings."""
    entry = entry_of(options.engine)
    device = "cuda" if gpu_index(options.device) is not None else options.device
    if device not in entry.devices:
        known = [*entry.devices, *(["cuda:N"] if "cuda" in entry.devices else [])]
        raise UsageError(
            f"{entry.label} has no device '{options.device:.60}', only {', '.join(known)}.{did_you_mean(device, known)}"
        )
    return entry, parse_settings(entry.settings, options.settings, options.engine)


def _compare(opened: Engine, where: str, options: EngineOptions, entry: EngineEntry) -> None:
    """Compare what was opened with what was asked for; libraries fall back without a word."""
    graph = graph_facts.precision_of(opened.metadata, where)
    if graph not in graph_precisions(options):
        wanted = graph_precision(options)
        raise EngineError(f"{where}: the graph is in {graph}, {wanted} was asked for; run atd export again")
    if opened.precision is not options.precision:
        raise EngineError(
            f"{where}: {entry.label} computes in {opened.precision}, {options.precision} was asked for; this machine "
            f"can't, choose --precision {opened.precision}"
        )
    index = gpu_index(options.device)
    device = options.device if index is None else f"cuda:{index}"
    if device not in ("auto", opened.device):
        raise EngineError(f"{where}: {entry.label} runs on {opened.device}, {device} was asked for")
