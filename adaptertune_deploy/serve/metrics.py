"""GET /metrics: Triton's nv_* names, for which dashboards exist, and our own atd_* ones.

The nv_* lines are written here, since prometheus_client ends every counter's name in `_total` and Triton's don't.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

import adaptertune_deploy
from adaptertune_deploy.serve.batching.batch import BatchRecord
from adaptertune_deploy.serve.statistics import Statistics, TaskStatistics, Timing
from adaptertune_deploy.serve.tasks.served_task import ServedTask

CREATED = re.compile(r"(# (HELP|TYPE) )?atd_\w+_created\b")
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128)

# name -> (type, help, value); https://github.com/triton-inference-server/server/blob/main/docs/user_guide/metrics.md
NV_METRICS: dict[str, tuple[str, str, Callable[[TaskStatistics], float]]] = {
    "nv_inference_request_success": ("counter", "Requests answered", lambda task: task.success.count),
    "nv_inference_count": ("counter", "Rows that ran", lambda task: task.rows),
    "nv_inference_exec_count": ("counter", "Engine runs with a row of this model", lambda task: task.executions),
    "nv_inference_pending_request_count": ("gauge", "Requests not yet answered", lambda task: task.pending),
    "nv_inference_request_duration_us": ("counter", "From arrival to answer", lambda task: task.success.ns // 1000),
    "nv_inference_queue_duration_us": ("counter", "In the queue", lambda task: task.queue.ns // 1000),
    "nv_inference_compute_input_duration_us": ("counter", "Preprocessing", lambda task: task.compute_input.ns // 1000),
    "nv_inference_compute_infer_duration_us": ("counter", "In the engine", lambda task: task.compute_infer.ns // 1000),
    "nv_inference_compute_output_duration_us": (
        "counter",
        "Making the answer",
        lambda task: task.compute_output.ns // 1000,
    ),
}
# Of a server that keeps answers.
NV_CACHE: dict[str, tuple[str, str, Callable[[TaskStatistics], float]]] = {
    "nv_cache_num_hits_per_model": ("counter", "Requests from the cache", lambda task: task.cache_hit.count),
    "nv_cache_num_misses_per_model": ("counter", "Requests that ran", lambda task: task.cache_miss.count),
    "nv_cache_hit_duration_per_model": ("counter", "Looking up", lambda task: task.cache_hit.ns // 1000),
    "nv_cache_miss_duration_per_model": ("counter", "Looking up and keeping", lambda task: task.cache_miss.ns // 1000),
}
NV_FAILURE = "nv_inference_request_failure"


class Metrics:
    """The instruments of one server, in a registry of their own."""

    def __init__(self, statistics: Statistics, runs: Mapping[str, str] | None = None, cached: bool = False) -> None:
        """Register every instrument; `runs` says what runs besides this version, `cached` whether answers are kept."""
        self._statistics = statistics
        self._nv = {**NV_METRICS, **(NV_CACHE if cached else {})}
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._request = Histogram(
            "atd_request_seconds", "From arrival to answer", ["task"], buckets=SECONDS, registry=registry
        )
        self._queue = Histogram(
            "atd_queue_seconds", "Waiting for the engine", ["task"], buckets=SECONDS, registry=registry
        )
        self._preprocess = Histogram(
            "atd_preprocess_seconds", "Decoding and resizing", buckets=SECONDS, registry=registry
        )
        self._infer = Histogram("atd_batch_seconds", "One engine run", ["instance"], buckets=SECONDS, registry=registry)
        self._infer.labels("0")
        self._rows = Histogram("atd_batch_rows", "Rows of one engine run", buckets=ROWS, registry=registry)
        self._mix = Histogram("atd_batch_tasks", "Different tasks in one engine run", buckets=ROWS, registry=registry)
        self._nonfinite = Counter(
            "atd_nonfinite_rows", "Rows withheld because their logits were NaN or infinite", ["task"], registry=registry
        )
        self._of_tasks = (self._request, self._queue, self._nonfinite)
        for name, _ in statistics.tasks:
            self.add(name)
        self._responses = Counter("atd_http_responses", "Answers", ["route", "status"], registry=registry)
        self._calls = Counter("atd_grpc_responses", "Ends of calls", ["method", "code"], registry=registry)
        self._cut_off = Counter(
            "atd_grpc_cut_off", "Connections over gRPC that were ended", ["reason"], registry=registry
        )
        self._asked = Counter("atd_slot_hits", "Tasks asked for that had a slot", registry=registry)
        self._missed = Counter("atd_slot_misses", "Tasks asked for that had to be brought up", registry=registry)
        self._evicted = Counter("atd_slot_evictions", "Tasks that gave their slot up for another", registry=registry)
        self._brought = Histogram("atd_slot_load_seconds", "Bringing a task up", buckets=SECONDS, registry=registry)
        words = {"version": adaptertune_deploy.__version__, **(runs or {})}
        Gauge("atd_build_info", "Always 1; what runs", list(words), registry=registry).labels(**words).set(1)

    def add(self, task: str) -> None:
        """Show what is counted of a task from now on."""
        for instrument in self._of_tasks:
            instrument.labels(task)

    def remove(self, task: str) -> None:
        """Show it no more."""
        for instrument in self._of_tasks:
            instrument.remove(task)

    def show(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Add a gauge, whose value is asked for whenever the metrics are."""
        Gauge(name, text, registry=self._registry).set_function(value)

    def show_each(self, name: str, text: str, label: str, values: Callable[[], Mapping[str, float]]) -> None:
        """Add a gauge for each key of what `values` returns whenever the metrics are asked for."""
        self._registry.register(_Each(name, text, label, values))

    def responded(self, route: str, status: int) -> None:
        """Count an answer of a route, or a refusal by the connection itself."""
        self._responses.labels(route, str(status)).inc()

    def called(self, method: str, code: str) -> None:
        """Count the end of a call over gRPC."""
        self._calls.labels(method, code).inc()

    def cut_off(self, reason: str) -> None:
        """Count a connection over gRPC that a client's doing, or not doing, ended."""
        self._cut_off.labels(reason).inc()

    def asked_slot(self, hit: bool) -> None:
        """See tasks.slots.Observer."""
        (self._asked if hit else self._missed).inc()

    def evicted(self) -> None:
        """See tasks.slots.Observer."""
        self._evicted.inc()

    def brought_up(self, seconds: float) -> None:
        """See tasks.slots.Observer."""
        self._brought.observe(seconds)

    def answered(self, tasks: Iterable[ServedTask], timing: Timing, hits: Collection[ServedTask] = ()) -> None:
        """Observe an answered request, for each task that it asked; of `hits` the response cache had every row."""
        ran = [task for task in tasks if task not in hits]
        for task in (*ran, *hits):
            self._request.labels(task.name).observe(timing.total_s)
        for task in ran:
            self._queue.labels(task.name).observe(timing.queue_s)
        if ran:
            self._preprocess.observe(timing.preprocess_s)

    def executed(self, batch: BatchRecord) -> None:
        """Observe an engine run."""
        self._infer.labels(str(batch.instance)).observe(batch.seconds)
        self._rows.observe(batch.size)
        self._mix.observe(len(batch.rows))
        for task, rows in batch.nonfinite.items():
            self._nonfinite.labels(task.name).inc(rows)

    def render(self) -> bytes:
        """Return every metric in Prometheus' text format 0.0.4."""
        lines = [*self._nv_lines(), *generate_latest(self._registry).decode().splitlines()]
        # prometheus_client also says when each counter began, unless the whole process forbids it: twice the lines.
        return "".join(f"{line}\n" for line in lines if not CREATED.match(line)).encode()

    def _nv_lines(self) -> Iterator[str]:
        for name, (kind, text, value) in self._nv.items():
            yield f"# HELP {name} {text}"
            yield f"# TYPE {name} {kind}"
            for (task, version), entry in self._statistics.tasks.items():
                yield f'{name}{{model="{task}",version="{version}"}} {value(entry)}'
        yield f"# HELP {NV_FAILURE} Requests that got no answer, by reason"
        yield f"# TYPE {NV_FAILURE} counter"
        for (task, version), entry in self._statistics.tasks.items():
            for reason, count in entry.failures.items():
                yield f'{NV_FAILURE}{{model="{task}",reason="{reason}",version="{version}"}} {count}'


@dataclass(frozen=True)
class _Each(Collector):
    """A gauge with one label, whose values are asked for whenever the metrics are; see Metrics.show_each."""

    name: str
    text: str
    label: str
    values: Callable[[], Mapping[str, float]]

    def collect(self) -> Iterable[Metric]:
        """Yield the gauge as it stands now."""
        family = GaugeMetricFamily(self.name, self.text, labels=[self.label])
        for key, value in self.values().items():
            family.add_metric([key], value)
        yield family

    def describe(self) -> Iterable[Metric]:
        """Yield its name, so that nothing is asked for when it is added."""
        yield GaugeMetricFamily(self.name, self.text, labels=[self.label])
