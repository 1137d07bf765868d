"""The documents in which a v2 server describes itself, its models and their statistics."""

from __future__ import annotations

from typing import Any

import adaptertune_deploy
from adaptertune_deploy.core.spec import TaskSpec
from adaptertune_deploy.engines.options import gpu_index
from adaptertune_deploy.serve.batching.fair_queue import DEFAULT_PRIORITY, PRIORITIES
from adaptertune_deploy.serve.protocol.models import BYTES, Model
from adaptertune_deploy.serve.sessions.session import Session
from adaptertune_deploy.serve.settings import Settings
from adaptertune_deploy.serve.statistics import Tally, TaskStatistics

NAME = "adaptertune-deploy"
EXTENSIONS = ("classification", "binary_tensor_data", "model_configuration", "schedule_policy", "statistics")


def server_metadata() -> dict[str, Any]:
    """Return the answer to GET /v2; only extensions that work are listed."""
    return {"name": NAME, "version": adaptertune_deploy.__version__, "extensions": list(EXTENSIONS)}


def model_metadata(model: Model, session: Session) -> dict[str, Any]:
    """Return a model's name, versions, inputs and outputs; -1 is the batch dimension.

    "parameters", which MLServer's metadata has too, says what answers: a head only or adapters of some rank, and what
    runs them.
    """
    return {
        "name": model.name,
        "versions": [model.version],
        "platform": f"adaptertune_{session.form}",
        "inputs": [{"name": model.input, "datatype": model.datatype, "shape": [-1, *model.dims]}],
        "outputs": [{"name": model.output, "datatype": "FP32", "shape": [-1, len(model.labels)]}],
        "parameters": _parameters(model.task.spec, session),
    }


def engine(session: Session) -> dict[str, str]:
    """Return what runs the graphs, read back from the engine."""
    return session.engine.parts


def _parameters(task: TaskSpec, session: Session) -> dict[str, object]:
    own = {"adapter": task.adapter.words, "rank": task.adapter.rank, "temperature": task.temperature}
    return {**own, **engine(session)}


def model_config(model: Model, session: Session, settings: Settings, rows: int, instances: int) -> dict[str, Any]:
    """Return a model's configuration with the keys that Triton's clients read; dims leave the batch out.

    `rows` is how many an engine run has at most, `instances` how many runs go on at the same time.

    github.com/triton-inference-server/server, docs/protocol/extension_model_configuration.md
    """
    gpu = gpu_index(session.engine.device)
    return {
        "name": model.name,
        "platform": "",
        "backend": f"adaptertune_{session.form}",
        "runtime": "",
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": model.largest_batch(settings),
        "input": [
            {
                "name": model.input,
                "data_type": "TYPE_STRING" if model.datatype == BYTES else "TYPE_FP32",
                "format": "FORMAT_NCHW" if len(model.dims) == 3 else "FORMAT_NONE",
                "dims": list(model.dims),
                "is_shape_tensor": False,
                "allow_ragged_batch": False,
                "optional": False,
                "is_non_linear_format_io": False,
            }
        ],
        "output": [
            {
                "name": model.output,
                "data_type": "TYPE_FP32",
                "dims": [len(model.labels)],
                "label_filename": "labels.txt",
                "is_shape_tensor": False,
                "is_non_linear_format_io": False,
            }
        ],
        "batch_input": [],
        "batch_output": [],
        "dynamic_batching": _batching(settings, rows),
        "instance_group": [
            {
                "name": model.name,
                "kind": "KIND_CPU" if gpu is None else "KIND_GPU",
                "count": instances,
                "gpus": [] if gpu is None else [gpu],
            }
        ],
        **({"response_cache": {"enable": True}} if settings.cache else {}),
        "default_model_filename": "",
        "cc_model_filenames": {},
        "metric_tags": {},
        "parameters": {
            name: {"string_value": str(value)} for name, value in _parameters(model.task.spec, session).items()
        },
        "model_warmup": [],
    }


def _batching(settings: Settings, rows: int) -> dict[str, Any]:
    return {
        "preferred_batch_size": [rows],
        "max_queue_delay_microseconds": 0,
        "preserve_ordering": False,
        "priority_levels": PRIORITIES,
        "default_priority_level": DEFAULT_PRIORITY,
        "default_queue_policy": {
            "timeout_action": "REJECT",
            "default_timeout_microseconds": 0,
            "allow_timeout_override": True,
            "max_queue_size": settings.queue_limit,
        },
        "priority_queue_policy": {},
    }


def model_statistics(identity: tuple[str, int], entry: TaskStatistics) -> dict[str, Any]:
    """Return one element of "model_stats"; times in nanoseconds, `last_inference` in milliseconds."""
    nothing = Tally()
    name, version = identity
    return {
        "name": name,
        "version": str(version),
        "last_inference": entry.last_inference_ms,
        "inference_count": entry.rows,
        "execution_count": entry.executions,
        "inference_stats": {
            "success": _tally(entry.success),
            "fail": _tally(entry.fail),
            "queue": _tally(entry.queue),
            "compute_input": _tally(entry.compute_input),
            "compute_infer": _tally(entry.compute_infer),
            "compute_output": _tally(entry.compute_output),
            "cache_hit": _tally(entry.cache_hit),
            "cache_miss": _tally(entry.cache_miss),
        },
        "response_stats": {},
        "batch_stats": [
            {
                "batch_size": rows,
                "compute_input": _tally(nothing),
                "compute_infer": _tally(tally),
                "compute_output": _tally(nothing),
            }
            for rows, tally in sorted(entry.batches.items())
        ],
        "memory_usage": [],
    }


def _tally(tally: Tally) -> dict[str, int]:
    return {"count": tally.count, "ns": tally.ns}
