"""What really runs a graph, read back from the engine that does."""

from __future__ import annotations

from dataclasses import dataclass, field

from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines.engine import Engine
from adaptertune_deploy.engines.limits import Limits


@dataclass(frozen=True)
class EngineFacts:
    """An engine in a few words; see engines.engine.Engine for the fields."""

    engine: str
    version: str
    provider: str
    device: str
    precision: Precision
    limits: Limits = field(default_factory=Limits)

    @property
    def words(self) -> str:
        """What people read: "onnxruntime 1.32.0 on cpu in fp32"."""
        return f"{self.engine} {self.version} on {self.device} in {self.precision}"

    @property
    def parts(self) -> dict[str, str]:
        """What a program reads, name -> word."""
        return {
            "engine": self.engine,
            "engine_version": self.version,
            "provider": self.provider,
            "device": self.device,
            "precision": self.precision.value,
        }


def facts_of(engine: Engine) -> EngineFacts:
    """Return the facts of an opened engine."""
    return EngineFacts(engine.name, engine.version, engine.provider, engine.device, engine.precision, engine.limits)
