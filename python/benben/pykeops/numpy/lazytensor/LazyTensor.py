"""pykeops.numpy.lazytensor.LazyTensor."""

from ....numpy import ComplexLazyTensor, LazyTensor, Pm, Var, Vi, Vj

__all__ = ["ComplexLazyTensor", "LazyTensor", "Pm", "Var", "Vi", "Vj"]
