"""Open a session of ONNX Runtime on one provider, and compare what was opened with what was asked for."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
from dataclasses import dataclass
from typing import Any

from adaptertune_deploy.core import cores
from adaptertune_deploy.core.bundle import graph_facts
from adaptertune_deploy.core.errors import EngineError, UsageError
from adaptertune_deploy.core.processor import INT8_OF_X86, processor
from adaptertune_deploy.engines.onnx import signature as onnx_signature
from adaptertune_deploy.engines.onnxruntime import placement
from adaptertune_deploy.engines.onnxruntime import providers as ort_providers
from adaptertune_deploy.engines.onnxruntime.derived import Derived, derive
from adaptertune_deploy.engines.onnxruntime.library import FAILURES, ort
from adaptertune_deploy.engines.onnxruntime.mapped import open_mapped
from adaptertune_deploy.engines.onnxruntime.messages import first_line
from adaptertune_deploy.engines.onnxruntime.providers import CPU, CUDA, TENSORRT
from adaptertune_deploy.engines.onnxruntime.settings import OrtSettings
from adaptertune_deploy.engines.onnxruntime.stacked_bank import StackedBank
from adaptertune_deploy.engines.options import EngineOptions, gpu_index

logger = logging.getLogger(__name__)
# Why two sessions can't map one file.
UNMAPPED: tuple[type[Exception], ...] = (UsageError, OSError, *FAILURES)
FATAL_ONLY = 4  # log severity; errors reach the caller as exceptions


@dataclass(frozen=True)
class Opened:
    """What is opened of a graph.

    session: an InferenceSession.
    bank: where a task's tensors go in its inputs; None where they are the graph's own.
    beside: a second session of the graph; None where none was asked for.
    """

    session: Any
    bank: StackedBank | None = None
    beside: Any = None


def open_session(
    graph: bytes, where: str, provider: str, options: EngineOptions, settings: OrtSettings, beside: int = 0
) -> Opened:
    """Return a session that runs on a provider; on a CPU it is one of what engines.onnxruntime.derived makes of it.

    Args:
        graph: the bytes of an ONNX file that engines.onnx.plain_graph accepts.
        where: the file they come from, for messages.
        provider: one of engines.onnxruntime.providers.
        options: device and threads.
        settings: ONNX Runtime's own.
        beside: threads of a second session on the CPU, for runs beside others; 0 opens none.

    Raises:
        EngineError: not a graph that ONNX Runtime runs, this build lacks the provider, or the provider does not load
            or does not take the graph.
    """
    gpu, threads = gpu_index(options.device) or 0, options.threads
    try:
        if provider == CPU:
            opened = _on_a_cpu(graph, where, (threads, beside) if beside else (threads,))
        else:
            opened = Opened(_session(graph, threads, _gpu_chain(graph, where, provider, gpu, settings)))
    except FAILURES as error:
        raise EngineError(f"{where}: ONNX Runtime refuses this graph: {first_line(error)}") from None
    session = opened.session
    _check_provider(session, provider)
    if provider != CPU:
        _check_gpu(session, provider, gpu, where)
        _check_nodes(session, provider, where)
    return opened


def check_build(provider: str) -> None:
    """Raise EngineError when this build of onnxruntime has no such provider."""
    if provider not in ort.get_available_providers():
        extras = "gpu,tensorrt" if provider == TENSORRT else "gpu"
        raise EngineError(
            f"this onnxruntime {ort.__version__} has no {ort_providers.LABELS[provider]} provider; in a fresh "
            f"environment, in a clone of the project: pip install '.[{extras}]' (onnxruntime and onnxruntime-gpu "
            "exclude each other)"
        )


def _check_provider(session: Any, provider: str) -> None:
    """Refuse a session without the provider: ONNX Runtime goes on without one that does not load."""
    found = session.get_providers()
    if found[0] != provider:
        extras, other = ("gpu,tensorrt", "TensorRT") if provider == TENSORRT else ("gpu", "cuDNN")
        raise EngineError(
            f"ONNX Runtime was asked for {provider} and loaded only {', '.join(found)}; check the GPU driver and that "
            f"CUDA and {other} match: in a clone of the project pip install --force-reinstall '.[{extras}]', or "
            "choose --device cpu"
        )


def _check_gpu(session: Any, provider: str, gpu: int, where: str) -> None:
    """Refuse a session on another GPU than was asked for."""
    found = session.get_provider_options().get(provider, {}).get("device_id", str(gpu))
    if found != str(gpu):
        raise EngineError(f"{where}: {provider} runs on GPU {found}, {gpu} was asked for; choose --device cuda:N")


def _check_nodes(session: Any, provider: str, where: str) -> None:
    """Refuse a session whose provider loads and does not do the work; say what it leaves to another one."""
    found = placement.placement_of(session)
    if found is None:
        logger.warning(
            "%s: onnxruntime %s does not tell which nodes %s takes; 1.24 and newer do", where, ort.__version__, provider
        )
        return
    logger.info("%s: nodes: %s", where, found)
    told = placement.check_placement(found, provider, where)
    if told:
        logger.warning("%s", told)


def _gpu_chain(graph: bytes, where: str, provider: str, gpu: int, settings: OrtSettings) -> list[Any]:
    """Return providers with their options, each for what the one before does not take; shapes are the CPU's."""
    _load_gpu_libraries(provider)
    cuda = (CUDA, ort_providers.cuda_options(gpu, settings.cuda_graphs))
    if provider == CUDA:
        return [cuda, CPU]
    ort_providers.check_tensorrt()
    signature = onnx_signature.read(graph, where)
    precision = graph_facts.precision_of(signature.metadata, where)
    ort_providers.load_tensorrt(precision)
    told = ort_providers.tensorrt_options(graph, signature.inputs, precision, gpu, ort.__version__)
    return [(TENSORRT, told), cuda, CPU]


def _on_a_cpu(graph: bytes, where: str, threads: tuple[int, ...]) -> Opened:
    """Open what is made of a graph, without ONNX Runtime's own operators where this build has none.

    Args:
        graph: see open_session.
        where: see there.
        threads: of the session, and of a second one where there are two numbers.
    """
    derived = derive(graph, where, threads=max(threads))
    if derived.own:
        try:
            return _opened(derived, where, threads)
        except FAILURES as error:
            logger.debug("fused attention: %s", first_line(error))
            derived = derive(graph, where, own=False)
    return _opened(derived, where, threads)


def _opened(derived: Derived, where: str, threads: tuple[int, ...]) -> Opened:
    """Open a session for each number of threads; two hold the weights once where that is possible."""
    if len(threads) == 1:
        return Opened(_session(derived.graph, threads[0], [CPU]), derived.bank)
    try:
        first, second = open_mapped(derived.graph, [_options(each, False) for each in threads], _options(1, False))
    except UNMAPPED as error:
        first, second = (_session(derived.graph, each, [CPU]) for each in threads)
        logger.warning("%s: the weights lie in memory twice: %s", where, first_line(error))
    return Opened(first, derived.bank, second)


def _session(graph: bytes, threads: int, chain: list[Any]) -> Any:
    session = ort.InferenceSession(graph, _options(threads, chain != [CPU]), providers=chain, enable_fallback=0)
    session._model_bytes = None  # kept by ONNX Runtime to open the graph again, which enable_fallback=0 rules out
    return session


def _options(threads: int, gpu: bool) -> Any:
    """Return session options.

    No spinning: idle worker threads that spin take the CPU from decoding, other sessions and other processes.
    No memory pattern: with a new batch size in every run it only keeps more memory, and no run is slower without.
    Exact sums of int8: on an x86-64 CPU without VNNI, pairs of products u8 x s8 would overflow 16 bits and be cut off.
    Where it has VNNI, nothing is cut off, and the products u8 x u8 that ONNX Runtime then makes have no instruction.
    Weights on a GPU lie outside the arena, which could not shrink around them (engines.onnxruntime.arenas).
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = FATAL_ONLY
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.x64quantprecision", "0" if _adds_int8_exactly() else "1")
    if gpu:
        options.add_session_config_entry(placement.RECORD, "1")
        options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    return options


@functools.cache
def _adds_int8_exactly() -> bool:
    """Whether this x86-64 processor is known to have an instruction that adds products u8 x s8 into 32 bits."""
    found = processor(cores.read_small)
    return found is not None and bool(found.flags & INT8_OF_X86)


def _load_gpu_libraries(provider: str) -> None:
    """Make the CUDA libraries of the nvidia-* wheels loadable; what is missing shows when the session opens.

    Raises:
        EngineError: this onnxruntime has no such provider at all.
    """
    check_build(provider)
    ort.set_default_logger_severity(FATAL_ONLY)
    if hasattr(ort, "preload_dlls"):
        with contextlib.redirect_stdout(io.StringIO()):
            ort.preload_dlls()
