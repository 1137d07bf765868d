from __future__ import annotations

from pathlib import Path

import pytest

from adaptertune_deploy.core.errors import AtdError, FormatError, UsageError
from adaptertune_deploy.inspection.kinds import inspect

GOLDEN = Path(__file__).parents[1] / "device" / "golden"
GRAPH = next((GOLDEN / "bundle").glob("backbone-*.onnx"))


@pytest.mark.parametrize(
    ("path", "what"),
    [
        (GOLDEN / "bundle", "bundle"),
        (GOLDEN / "bundle" / "manifest.json", "bundle"),
        (GRAPH, "graph"),
        (GOLDEN / "adapters" / "birds", "adapter"),
        (GOLDEN / "adapters" / "birds" / "adapter_model.safetensors", "adapter"),
        (GOLDEN / "adapters" / "birds" / "adapter_config.json", "adapter"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_each_kind_is_known_by_its_names(path: Path, what: str) -> None:
    assert inspect(path).what == what


@pytest.mark.parametrize(
    ("path", "kind", "message"),
    [
        (GOLDEN / "none", FormatError, "none: no such file or folder"),
        (GOLDEN / "images", UsageError, "is none of what can be inspected: an adapter folder, a bundle, an ONNX graph"),
        (GOLDEN / "images" / "0.png", UsageError, "is none of what can be inspected"),
    ],
    ids=["absent", "folder", "file"],
)
def test_what_is_none_of_them(path: Path, kind: type[AtdError], message: str) -> None:
    with pytest.raises(kind, match=message):
        inspect(path)
