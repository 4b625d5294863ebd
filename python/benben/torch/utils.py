"""Dense reference computations and small helpers, by the names that KeOps's programs import."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch

from ._genred import Genred, KernelSolve
from .cluster import swap_axes


def squared_distances(x: Any, y: Any) -> Any:
    """|x_i - y_j|^2: (M, N)."""
    return ((x[:, None, :] - y[None, :, :]) ** 2).sum(-1)


_KERNELS: dict[str, Callable[[Any], Any]] = {
    "gaussian": lambda q: torch.exp(-q),
    "laplacian": lambda q: torch.exp(-torch.sqrt(q)),
    "cauchy": lambda q: 1 / (1 + q),
    "inverse_multiquadric": lambda q: 1 / torch.sqrt(1 + q),
}


def torch_kernel(x: Any, y: Any, s: float, kernel: str) -> Any:
    """The matrix of a radial kernel of scale s: gaussian, laplacian, cauchy or inverse_multiquadric."""
    if kernel not in _KERNELS:
        raise ValueError(f"kernel {kernel!r} is unknown; known: {', '.join(_KERNELS)}")
    return _KERNELS[kernel](squared_distances(x, y) / (s * s))


def is_on_device(x: Any) -> bool:
    """Whether a tensor is in the memory of a graphics processor."""
    return bool(x.is_cuda)


def WarmUpGpu(*_: Any) -> None:
    """Nothing has to be warmed up."""


class torchtools:
    """The array library's functions under common names."""

    Genred, KernelSolve = Genred, KernelSolve
    swap_axes = staticmethod(swap_axes)
    arraytype = torch.Tensor
    float_types: ClassVar[list[type]] = [float]
    norm, exp, log, sqrt = torch.norm, torch.exp, torch.log, torch.sqrt
    copy, numpy, solve = torch.clone, staticmethod(lambda x: x.numpy(force=True)), torch.linalg.solve
    is_tensor, tile = torch.is_tensor, torch.tile

    @staticmethod
    def transpose(x: Any) -> Any:
        return x.t()

    @staticmethod
    def permute(x: Any, *axes: int) -> Any:
        return x.permute(*axes)

    @staticmethod
    def contiguous(x: Any) -> Any:
        return x.contiguous()

    @staticmethod
    def view(x: Any, shape: Any) -> Any:
        return x.reshape(shape)

    @staticmethod
    def arraysum(x: Any, axis: int | None = None) -> Any:
        return x.sum() if axis is None else x.sum(axis)

    @staticmethod
    def array(x: Any, dtype: Any = None, device: Any = None) -> Any:
        return torch.tensor(x, dtype=_dtype(dtype), device=device)

    @staticmethod
    def zeros(shape: Any, dtype: Any = None, device: Any = None, **_: Any) -> Any:
        return torch.zeros(shape, dtype=_dtype(dtype), device=device)

    @staticmethod
    def empty(shape: Any, dtype: Any = None, device: Any = None, **_: Any) -> Any:
        return torch.empty(shape, dtype=_dtype(dtype), device=device)

    @staticmethod
    def eye(n: int, dtype: Any = None, device: Any = None, **_: Any) -> Any:
        return torch.eye(n, dtype=_dtype(dtype), device=device)

    @staticmethod
    def rand(*shape: int, dtype: Any = None, device: Any = None) -> Any:
        return torch.rand(*shape, dtype=_dtype(dtype), device=device)

    @staticmethod
    def randn(*shape: int, dtype: Any = None, device: Any = None) -> Any:
        return torch.randn(*shape, dtype=_dtype(dtype), device=device)

    @staticmethod
    def dtype(x: Any) -> Any:
        return x.dtype

    @staticmethod
    def dtypename(dtype: Any) -> str:
        return str(dtype).removeprefix("torch.")

    @staticmethod
    def device(x: Any) -> Any:
        return x.device if isinstance(x, torch.Tensor) else None

    @staticmethod
    def size(x: Any) -> int:
        return int(x.numel())

    @staticmethod
    def is_on_device(x: Any) -> bool:
        return is_on_device(x)


def _dtype(dtype: Any) -> Any:
    return getattr(torch, dtype) if isinstance(dtype, str) else dtype
