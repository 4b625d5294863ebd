"""pykeops.numpy.test_install."""

from __future__ import annotations

import numpy as np

from ...numpy import Genred


def test_numpy_bindings() -> None:
    """Runs a small formula; an exception says what is wrong."""
    import benben.pykeops

    x = np.arange(1, 10, dtype=np.float64).reshape(-1, 3)
    y = np.arange(3, 12, dtype=np.float64).reshape(-1, 3)
    found = Genred("SqNorm2(x - y)", ["x = Vi(3)", "y = Vj(3)"], axis=1)(x, y)
    expected = ((x[:, None] - y[None]) ** 2).sum(-1).sum(1)[:, None]
    if not np.allclose(found, expected):
        raise RuntimeError(f"the NumPy bindings give {found.ravel()}, expected {expected.ravel()}")
    if benben.pykeops.verbose:
        print("\npyKeOps with numpy bindings is working!\n")


test_numpy_bindings.__test__ = False  # type: ignore[attr-defined]
