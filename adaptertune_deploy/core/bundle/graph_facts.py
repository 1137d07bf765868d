"""What a graph says about itself: the JSON text that export keeps in an ONNX file's metadata_props.

With it one .onnx file is enough to prepare an image, run the graph and name the answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.core.spec import BackboneSpec, PreprocessSpec, TaskSpec
from adaptertune_deploy.core.storage import records

FORMAT_VERSION = 2
KEY = "adaptertune"
PRECISION_KEY = "adaptertune.precision"


@dataclass(frozen=True)
class GraphFacts:
    """The facts of one graph.

    preprocess: how an image becomes the input `images`.
    slots: indices of the blocks after which the graph adapts: by its own weights, or from the bank's inputs.
    task: the one task of a merged graph, its labels in the order of the logits; None for a shared graph.
    """

    format_version: int
    backbone: BackboneSpec
    preprocess: PreprocessSpec
    slots: tuple[int, ...]
    task: TaskSpec | None = None


def to_metadata(facts: GraphFacts, precision: Precision = Precision.FP32) -> dict[str, str]:
    """Return the facts as ONNX metadata, key -> value; a graph of fp32 says nothing of its precision."""
    said = {} if precision is Precision.FP32 else {PRECISION_KEY: precision.value}
    return {KEY: records.dump(facts), **said}


def precision_of(metadata: Mapping[str, str], where: str) -> Precision:
    """Return the precision of a graph: what its metadata says under PRECISION_KEY, fp32 where it says nothing.

    Args:
        metadata: see from_metadata.
        where: the file, for messages.

    Raises:
        FormatError: a precision that this release does not know.
    """
    said = metadata.get(PRECISION_KEY, Precision.FP32.value)
    known = {precision.value: precision for precision in Precision}
    if said not in known:
        raise FormatError(f"{where}: is in precision {said!r:.40}, this release knows {', '.join(known)}")
    return known[said]


def from_metadata(metadata: Mapping[str, str], where: str) -> GraphFacts:
    """Read a graph's facts.

    Args:
        metadata: the graph's key-value pairs, engines.engine.Engine.metadata.
        where: the file, for messages.

    Raises:
        FormatError: no facts, another version, an unknown or missing field, a wrong type.
    """
    if KEY not in metadata:
        raise FormatError(f"{where}: says nothing about its task and preprocessing; make graphs with: atd export")
    try:
        data = json.loads(metadata[KEY], object_pairs_hook=records.unique_fields)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where}: metadata '{KEY}' is not JSON ({error})") from None
    found = data.get("format_version") if isinstance(data, dict) else None
    if found != FORMAT_VERSION:
        raise FormatError(f"{where}: metadata '{KEY}' has version {found!r:.20}, this release reads {FORMAT_VERSION}")
    facts: GraphFacts = records.parse(data, GraphFacts, f"{where}: metadata '{KEY}'")
    return facts
