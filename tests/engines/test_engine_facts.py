from __future__ import annotations

from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines.engine_facts import EngineFacts, facts_of
from adaptertune_deploy.engines.limits import Limits
from tests.serve.fakes import FakeEngine


def test_they_are_read_back_from_the_engine() -> None:
    limits = Limits(max_rows=4)
    engine = FakeEngine(provider="TensorRT", device="cuda:1", precision=Precision.FP16, limits=limits)
    facts = facts_of(engine)
    assert facts == EngineFacts("fake", "1", "TensorRT", "cuda:1", Precision.FP16, limits)
    assert facts.words == "fake 1 on cuda:1 in fp16"
