"""Which provider of a session runs which nodes, counted after it was opened.

A provider that loads may still take none of a graph's nodes, or leave some to the next one, and ONNX Runtime does not
say so. It tells who asks (Session_GetEpGraphAssignmentInfo, from release 1.24 on) about the graph as it was divided:
nodes are those of the file but for constants that were folded; what is fused later stays with its provider.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.onnxruntime.providers import CPU

RECORD = "session.record_ep_graph_assignment_info"  # of a session's configuration: "1" before it is opened
# Where a graph's time goes. Providers on GPUs leave arithmetic on shapes to the CPU, and that is well so.
PRODUCTS = frozenset(["Attention", "Conv", "ConvInteger", "Gemm", "MatMul", "MatMulInteger", "MultiHeadAttention"])


@dataclass(frozen=True)
class Placement:
    """Where a graph's nodes run.

    nodes: provider -> how many.
    products: provider -> operators of its matrix products, each once a node.
    """

    nodes: Mapping[str, int]
    products: Mapping[str, tuple[str, ...]]

    def __str__(self) -> str:
        return ", ".join(f"{provider} {count}" for provider, count in self.nodes.items())


def placement_of(session: Any) -> Placement | None:
    """Return where a session's nodes run, None where this ONNX Runtime does not tell.

    Args:
        session: an InferenceSession that was opened with RECORD.
    """
    ask = getattr(session, "get_provider_graph_assignment_info", None)
    if ask is None:
        return None
    nodes: Counter[str] = Counter()
    products: dict[str, tuple[str, ...]] = {}
    for part in ask():
        operators = [node.op_type for node in part.get_nodes()]
        nodes[part.ep_name] += len(operators)
        found = tuple(name for name in operators if name in PRODUCTS)
        products[part.ep_name] = (*products.get(part.ep_name, ()), *found)
    return Placement(dict(nodes.most_common()), products)


def check_placement(found: Placement, provider: str, where: str) -> str | None:
    """Refuse a session whose provider does not do the work; return what a person should know, or None.

    Args:
        found: where the nodes run.
        provider: the one that was asked for.
        where: the graph's file, for messages.

    Raises:
        EngineError: the provider took no node, or a matrix product was left to the CPU.
    """
    total = sum(found.nodes.values())
    if total and not found.nodes.get(provider):
        raise EngineError(
            f"{where}: {provider} takes none of the graph's {total} nodes ({found}); choose another -E provider, "
            "--precision or --device"
        )
    count = sum(map(len, found.products.values()))
    left = {name: operators for name, operators in found.products.items() if operators and name != provider}
    if CPU in left:
        operators = ", ".join(sorted({*left[CPU]}))
        raise EngineError(
            f"{where}: {provider} leaves {len(left[CPU])} of {count} matrix products to the CPU ({operators}); choose "
            "another --precision, or --device cpu"
        )
    if not left:
        return None
    words = ", ".join(f"{len(operators)} to {name}" for name, operators in left.items())
    return f"{where}: of {count} matrix products {provider} leaves {words}"
