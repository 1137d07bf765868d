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
from adaptertune_deploy.serve.sessions.opener import Opener, with_opener
from tests.builders import write_bundle, write_merged
from tests.serve import fakes
from tests.serve.fakes import make_adapters, stand_in
from tests.serve.tasks.bundles import another, put, replace_task


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


def test_a_manifest_is_outdated_when_a_file_of_it_is_gone_and_another_one_stands_there(opener: Opener) -> None:
    old = opener.folder / opener.manifest.tasks[0].file
    assert not opener.is_outdated
    put(opener.folder, another("pets"))
    assert not opener.is_outdated  # everything can still be read
    old.unlink()
    assert opener.is_outdated
    bundle.write_manifest(opener.folder, opener.manifest)
    assert not opener.is_outdated  # a bundle that lacks a file
    (opener.folder / bundle.MANIFEST_NAME).write_text("damaged")
    assert not opener.is_outdated


def test_a_reader_that_fails_begins_again_with_the_manifest_that_stands_there_now(opener: Opener) -> None:
    seen = []

    def use(given: Opener) -> str:
        seen.append(given.manifest)
        if len(seen) == 1:
            replace_task(opener.folder, another("pets"))
        return given.read(given.manifest.tasks[-1]).task.name

    replace_task(opener.folder, another("pets", 51))  # the last of them now
    assert with_opener(opener.folder, opener.options, use) == "pets"
    assert [manifest == bundle.read_manifest(opener.folder) for manifest in seen] == [False, True]


def test_an_error_of_a_bundle_that_stands_still_is_raised_at_once(opener: Opener) -> None:
    calls = []

    def use(given: Opener) -> None:
        calls.append(given)
        raise UsageError("no such thing")

    with pytest.raises(UsageError, match="no such thing"):
        with_opener(opener.folder, opener.options, use)
    assert len(calls) == 1
