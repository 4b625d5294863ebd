"""pykeops.torch.test_install."""

from __future__ import annotations

import torch

from ...torch import Genred


def test_torch_bindings() -> None:
    """Runs a small formula; an exception says what is wrong."""
    import benben.pykeops

    x = torch.arange(1, 10, dtype=torch.float32).reshape(-1, 3)
    y = torch.arange(3, 12, dtype=torch.float32).reshape(-1, 3)
    found = Genred("SqNorm2(x - y)", ["x = Vi(3)", "y = Vj(3)"], axis=1)(x, y)
    expected = ((x[:, None] - y[None]) ** 2).sum(-1).sum(1)[:, None]
    if not torch.allclose(found, expected):
        raise RuntimeError(f"the PyTorch bindings give {found.flatten()}, expected {expected.flatten()}")
    if benben.pykeops.verbose:
        print("\npyKeOps with torch bindings is working!\n")


test_torch_bindings.__test__ = False  # type: ignore[attr-defined]
