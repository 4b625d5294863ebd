"""Whether two results of a case agree."""
import json

import numpy as np


LOOSE = ('"powf"', '"div"')  # pykeops raises to powers, and inverts integers, in float32


def agree(case, found, expected):
    """None, or what differs. float32 is summed in another order; gradients cancel."""
    if len(found) != len(expected):
        return f"{len(found)} results, expected {len(expected)}"
    for a, b in zip(found, expected, strict=True):
        if a.shape != b.shape or a.dtype != b.dtype:
            return f"{a.dtype}{a.shape}, expected {b.dtype}{b.shape}"
        if b.dtype.kind in "iu":
            if (a != b).any():
                return f"indices {a.tolist()}, expected {b.tolist()}"
            continue
        scale = 1 + np.abs(b).max(initial=0)
        tolerance = 2e-5 if b.dtype.itemsize // (1 + (b.dtype.kind == "c")) == 4 else 1e-9
        if any(name in json.dumps(case["tree"]) for name in LOOSE):
            tolerance = max(tolerance, 1e-6)
        if not np.allclose(a, b, rtol=0, atol=tolerance * scale, equal_nan=True):
            return f"differ by {np.abs(a - b).max():.3g}: {a.tolist()}, expected {b.tolist()}"
    return None


def same(found, expected, tolerance=1e-8):
    """Whether two laid-out values (facts.py) agree."""
    if isinstance(expected, dict) and "values" in expected:
        if not isinstance(found, dict) or [found.get(k) for k in ("dtype", "shape")] != [expected["dtype"], expected["shape"]]:
            return False
        return np.allclose(found["values"], expected["values"], rtol=tolerance, atol=tolerance, equal_nan=True)
    if isinstance(expected, list):
        return isinstance(found, list) and len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(expected, float):
        return isinstance(found, float) and bool(np.isclose(found, expected, rtol=tolerance))
    return type(found) is type(expected) and found == expected
