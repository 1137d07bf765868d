"""A slab in host memory that ONNX Runtime reads where it lies."""

from __future__ import annotations

from typing import Any

from adaptertune_deploy.engines.bank.wrapped_slab import WrappedSlab


class OrtSlab(WrappedSlab):
    """A slab of OrtValues that share the arrays' memory."""

    def bind(self, binding: Any, slot: int | None) -> None:
        """Bind all slots of every input, or one as a bank of one task."""
        for name, value in self.values(slot).items():
            binding.bind_ortvalue_input(name, value)
