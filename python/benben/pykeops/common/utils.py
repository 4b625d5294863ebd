"""pykeops.common.utils."""

from ...numpy.utils import WarmUpGpu


def axis2cat(axis: int) -> int:
    """Category of the variables that a reduction over `axis` keeps: 0 keeps j (1), 1 keeps i (0)."""
    if axis not in (0, 1):
        raise ValueError(f"axis={axis!r}: expected 0 or 1")
    return 1 - axis


def cat2axis(cat: int) -> int:
    """The axis that is folded where the variables of a category are kept."""
    if cat not in (0, 1):
        raise ValueError("Category should be Vi or Vj.")
    return 1 - cat


__all__ = ["WarmUpGpu", "axis2cat", "cat2axis"]
