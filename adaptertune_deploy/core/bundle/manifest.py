"""What a bundle holds, as records that check themselves: its graphs, its tasks, and what was measured of them."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from adaptertune_deploy.core.answers.accuracy import AccuracyRecord
from adaptertune_deploy.core.answers.stored_answer import StoredAnswer
from adaptertune_deploy.core.bundle.graph_words import in_words
from adaptertune_deploy.core.errors import UsageError, did_you_mean
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.core.spec import BackboneSpec, PreprocessSpec, TaskSpec, check_sha256, check_task_name
from adaptertune_deploy.core.storage.records import NOTED

FORMAT_VERSION = 2
SHARED, MERGED = "shared", "merged"
FORMS = (SHARED, MERGED)
DTYPES = ("float32", "float16", "bfloat16", "int64", "int32", "int8", "uint8", "bool")
GRAPH_LIMIT = 1 << 31  # bytes: protobuf's limit for one message
FILE = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")


@dataclass(frozen=True)
class GraphRecord:
    """One ONNX graph of a bundle.

    form: "shared" or "merged".
    task: whose merged graph it is; None for the shared one.
    file: path below the bundle's folder; see graph_file.
    bytes: size of the file.
    inputs: name -> dtype of what it takes, one of DTYPES.
    source: SHA-256 of the graph that this one was made of; None where it was traced.
    calibration: what its ranges were measured on, in words; None where none were.
    """

    form: str
    task: str | None
    precision: Precision
    file: str
    sha256: str
    bytes: int
    opset: int
    ir_version: int
    inputs: dict[str, str]
    source: str | None = None
    calibration: str | None = None

    def __post_init__(self) -> None:
        check_sha256(self.sha256)
        if self.source is not None:
            check_sha256(self.source)
        if self.form not in FORMS:
            raise ValueError(f"form {self.form!r:.80} must be one of {', '.join(FORMS)}")
        if (self.form == MERGED) != (self.task is not None):
            raise ValueError(f"a {self.form} graph with task {self.task!r:.80}: only a merged graph has one task")
        if self.task is not None:
            check_task_name(self.task)
        _check_file(self.file, graph_file(self.form, self.precision, self.sha256, self.task))
        if not 0 < self.bytes <= GRAPH_LIMIT:
            raise ValueError(f"{self.file} has {self.bytes!s:.40} bytes, expected 1 to {GRAPH_LIMIT:,}")
        if min(self.opset, self.ir_version) < 1:
            raise ValueError(f"{self.file} has opset {self.opset} and IR version {self.ir_version}, expected 1 or more")
        for name, dtype in self.inputs.items():
            if dtype not in DTYPES:
                raise ValueError(f"input {name!r:.80} has dtype {dtype!r:.80}, expected one of {', '.join(DTYPES)}")
        if not self.inputs:
            raise ValueError(f"{self.file} takes no input")

    @property
    def words(self) -> str:
        """What messages call it: "the shared fp32 graph" or "the merged int8 graph of task 'pets'"."""
        return f"the {self.form} {self.precision} graph" + (f" of task '{self.task}'" if self.task else "")


@dataclass(frozen=True)
class ParityRecord:
    """How far a graph's logits for a task lie from torch's on the same preprocessed images, fp32 torch on the CPU.

    graph: the graph's file.
    engine, engine_version: key of engines.table.ENGINES, and its library's version.
    provider: what the library calls that which ran the graph.
    precision: what it was computed in; an engine may make another one of the graph's own.
    images: number of images compared.
    max_abs, mean_abs: of |logits - torch's logits|.
    cosine: the smallest cosine between a row of logits and torch's row.
    agreement: share of rows with the same first class, 0..1.
    atol, rtol: max_abs was allowed to be atol + rtol times the largest of torch's logits.
    """

    graph: str
    task: str
    engine: str
    engine_version: str
    provider: str
    precision: Precision
    images: int
    max_abs: float
    mean_abs: float
    cosine: float
    agreement: float
    atol: float
    rtol: float

    def __post_init__(self) -> None:
        sizes = (self.max_abs, self.mean_abs, self.atol, self.rtol)
        if not all(math.isfinite(size) and size >= 0 for size in sizes):
            raise ValueError(
                f"parity of task '{self.task:.80}': differences must be finite numbers from 0, found {sizes}"
            )
        if self.images < 1 or not 0 <= self.agreement <= 1 or not -1 <= self.cosine <= 1:
            raise ValueError(
                f"parity of task '{self.task:.80}': {self.images} images, agreement {self.agreement} and cosine "
                f"{self.cosine}, expected at least 1, 0 to 1 and -1 to 1"
            )

    @property
    def measured(self) -> tuple[str, ...]:
        """What was measured, and on what: once only in a manifest."""
        return self.graph, self.task, self.engine, self.provider, self.precision.value


@dataclass(frozen=True)
class TaskRecord:
    """One task of a bundle.

    file, sha256: its tensor file.
    accuracy: what training measured of it; None where nobody recorded that.
    """

    task: TaskSpec
    file: str
    sha256: str
    accuracy: AccuracyRecord | None = field(default=None, compare=False, metadata=NOTED)

    def __post_init__(self) -> None:
        check_sha256(self.sha256)
        _check_file(self.file, tensor_file(self.task.name, self.sha256))


@dataclass(frozen=True)
class Manifest:
    """What a bundle holds (manifest.json).

    slots: indices of the blocks after which the shared graph has an adapter slot.
    graphs: at most one of each form, task and precision.
    parity: what was measured, of graphs and tasks that are there.
    versions: library -> version that exported it.
    answers: what tasks are known to answer, at most once each.
    """

    format_version: int
    backbone: BackboneSpec
    preprocess: PreprocessSpec
    slots: tuple[int, ...]
    tasks: tuple[TaskRecord, ...]
    graphs: tuple[GraphRecord, ...] = ()
    parity: tuple[ParityRecord, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    answers: tuple[StoredAnswer, ...] = ()

    def __post_init__(self) -> None:
        if list(self.slots) != sorted(set(self.slots)) or not set(self.slots) <= set(range(self.backbone.depth)):
            raise ValueError(
                f"slots {self.slots!s:.80} must be ascending, without repeats, from 0 to {self.backbone.depth - 1}"
            )
        names = [record.task.name for record in self.tasks]
        _check_once("task", names, ", ".join(names))
        _check_once("file", self.files, "the manifest's files")
        for graph in self.graphs:
            if graph.task is not None and graph.task not in names:
                raise ValueError(f"{graph.file} is of task '{graph.task}', which is none of {', '.join(names)}")
        _check_once("graph", [graph.words for graph in self.graphs], "the manifest's graphs")
        _check_once("measurement", [" ".join(entry.measured) for entry in self.parity], "parity")
        _check_once("stored answer", [answer.task for answer in self.answers], "answers")
        classes = {record.task.name: len(record.task.labels) for record in self.tasks}
        for answer in self.answers:
            if classes.get(answer.task) != len(answer.logits):
                raise ValueError(
                    f"stored answer of task {answer.task!r:.80} with {len(answer.logits)} logits, expected one logit "
                    "a label of a task of the manifest"
                )
        known = {graph.file: graph for graph in self.graphs}
        for entry in self.parity:
            measured = known.get(entry.graph)
            if measured is None or entry.task not in names or measured.task not in (None, entry.task):
                raise ValueError(
                    f"parity of graph {entry.graph!r:.80} and task {entry.task!r:.80}, which are not in the manifest"
                )

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that the manifest names, as paths below the bundle's folder."""
        return (*(record.file for record in self.tasks), *(graph.file for graph in self.graphs))

    def parity_of(self, task: str, form: str | None = None) -> tuple[ParityRecord, ...]:
        """Return what was measured of a task, on graphs of one form or of all."""
        forms = {graph.file: graph.form for graph in self.graphs}
        return tuple(entry for entry in self.parity if entry.task == task and form in (None, forms[entry.graph]))


def graph_file(form: str, precision: Precision, sha256: str, task: str | None = None) -> str:
    """Return the path of a graph below the bundle's folder."""
    return (
        f"backbone-{precision}-{sha256[:8]}.onnx" if form == SHARED else f"merged/{task}-{precision}-{sha256[:8]}.onnx"
    )


def tensor_file(task: str, sha256: str) -> str:
    """Return the path of a task's tensor file below the bundle's folder."""
    return f"adapters/{task}-{sha256[:8]}.safetensors"


def find_graph(
    manifest: Manifest, form: str, precision: Precision = Precision.FP32, task: str | None = None
) -> GraphRecord | None:
    """Return the graph of this form, precision and task (None for the shared form), or None where there is none."""
    asked = (form, precision, task)
    return next((graph for graph in manifest.graphs if (graph.form, graph.precision, graph.task) == asked), None)


def select_graph(
    manifest: Manifest, form: str, precision: Precision = Precision.FP32, task: str | None = None
) -> GraphRecord:
    """Return the graph of exactly this form, precision and task: the one way to a graph of a bundle.

    Args:
        manifest: the bundle's.
        form: "shared" or "merged".
        precision: never replaced by another one.
        task: whose merged graph; None for the shared one.

    Raises:
        UsageError: the bundle does not hold it; what it holds is listed.
    """
    found = find_graph(manifest, form, precision, task)
    if found is not None:
        return found
    asked = f"{form} {precision} graph" + (f" of task '{task}'" if task else "")
    held = in_words(((graph.form, graph.precision, graph.task) for graph in manifest.graphs), form)
    raise UsageError(f"the bundle holds no {asked}, only {held}; make one with: {_made(manifest, form, precision)}")


def _made(manifest: Manifest, form: str, precision: Precision) -> str:
    """Return the command that makes a graph that is not there: a merged one of the shared one, where that is there."""
    if form == MERGED and find_graph(manifest, SHARED, precision) is not None:
        return "atd add ADAPTER --merge"
    merge = " --merge" if form == MERGED else ""
    return f"atd export{merge}" + (f" --precision fp32,{precision}" if precision is not Precision.FP32 else "")


def select_tasks(manifest: Manifest, names: list[str] | None) -> tuple[TaskRecord, ...]:
    """Return the named tasks in the order given, or all of them for None.

    Raises:
        UsageError: a name the bundle does not hold, or one given twice.
    """
    known = {record.task.name: record for record in manifest.tasks}
    if names is None:
        return manifest.tasks
    if not names:
        raise UsageError(f"no task was named; name one or more of {', '.join(known)}")
    for name in names:
        if name not in known:
            raise UsageError(f"the bundle holds no task '{name}', only {', '.join(known)}.{did_you_mean(name, known)}")
    if len(set(names)) != len(names):
        raise UsageError(f"a task is named twice in {','.join(names)}; name each once")
    return tuple(known[name] for name in names)


def _check_file(path: str, name: str) -> None:
    if FILE.fullmatch(path) is None or not {".", ".."}.isdisjoint(path.split("/")):
        raise ValueError(f"file {path!r:.80} must be a path below the bundle, of letters, digits, '.', '_', '-'")
    if path != name:
        raise ValueError(f"file {path!r:.80} must be called {name}")


def _check_once(what: str, values: Iterable[str], among: str) -> None:
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise ValueError(f"{what} {twice[0]!r:.80} appears twice among {among:.200}")
