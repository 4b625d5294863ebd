"""pykeops.common.lazy_tensor."""

from ..._complex import ComplexGenericLazyTensor
from ..._lazy import GenericLazyTensor

__all__ = ["ComplexGenericLazyTensor", "GenericLazyTensor"]
