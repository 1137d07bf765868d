from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle.manifest import select_graph
from adaptertune_deploy.core.errors import FormatError, UsageError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines import table
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.serve.sessions.opener import Opener
from tests.builders import write_bundle, write_merged
from tests.serve import fakes
from tests.serve.fakes import make_adapters, stand_in


@pytest.fixture
def opener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opener:
    monkeypatch.setitem(table.ENGINES, "fake", fakes.ENTRY)
    fakes.OPENED.clear()
    manifest = write_bundle(tmp_path, make_adapters(), graph=stand_in("shared"))
    manifest = write_merged(tmp_path, manifest, {"pets": stand_in("pets"), "digits": stand_in("flowers")})
    return Opener(tmp_path, manifest, EngineOptions("fake"))


def test_it_reads_tensors_and_opens_graphs(opener: Opener) -> None:
    read = opener.read(opener.manifest.tasks[1])
    np.testing.assert_array_equal(read.tensors["head.bias"], make_adapters()[1].tensors["head.bias"])
    opened = opener.open(opener.merged_graph("pets"))
    assert [opened] == fakes.OPENED
    opener.open(select_graph(opener.manifest, "shared")).close()


def test_a_graph_that_is_another_than_the_manifest_says_is_closed_again(opener: Opener) -> None:
    with pytest.raises(FormatError, match="says it answers task 'flowers', the manifest says 'digits'"):
        opener.open(opener.merged_graph("digits"))
    assert [engine.closed for engine in fakes.OPENED] == [True]


def test_a_graph_of_another_precision_is_not_taken_instead(opener: Opener) -> None:
    with pytest.raises(UsageError, match="no merged fp32 graph of task 'flowers'"):
        opener.merged_graph("flowers")
    other = Opener(opener.folder, bundle.read_manifest(opener.folder), EngineOptions("fake", precision=Precision.FP16))
    with pytest.raises(UsageError, match="no merged fp16 graph of task 'pets'"):
        other.merged_graph("pets")
