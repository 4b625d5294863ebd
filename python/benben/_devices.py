"""Which graphics processors there are, and which of them a call takes."""

from __future__ import annotations

from typing import Any, NamedTuple

from . import _core
from ._errors import ArgumentError, DeviceError


class Device(NamedTuple):
    """A graphics processor: number is what `device_id` and `benben run --device` take; memory in bytes; capability: of
    CUDA, 90 for 9.0, else 0."""

    target: str
    number: int
    name: str
    memory: int
    float64: bool
    capability: int


def devices(target: str | None = None) -> list[Device]:
    """The graphics processors of this machine, those of CUDA first; looking starts none. target: 'cuda' or 'opencl'
    alone. Where a driver is missing there is none; `benben.doctor()` says why.

    >>> import benben
    >>> all(device.target in ("cuda", "opencl") for device in benben.devices())
    True
    """
    if target not in (None, "cuda", "opencl"):
        raise ArgumentError(f"target={target!r}: expected 'cuda' or 'opencl'")
    names = ("cuda", "opencl") if target is None else (target,)
    return [Device(*row) for name in names for row in _core.devices(name)]


def chosen(backend: str, device_id: Any, tools: Any) -> tuple[int, ...] | None:
    """Numbers of the CUDA devices that a call names; None: what is chosen by itself. backend: one that exists."""
    several = isinstance(device_id, (list, tuple))
    gpu = backend.startswith("GPU")
    if backend == "CPU" or (not several and device_id == -1 and not gpu):
        return None
    wanted = tuple(device_id) if several else (0 if device_id == -1 else device_id,)
    if not wanted or any(isinstance(n, bool) or not hasattr(n, "__index__") or n < 0 for n in wanted):
        raise ArgumentError(f"device_id={device_id!r}: expected the number of a device, -1, or a tuple of numbers")
    if not getattr(tools, "divides_rows", False):
        if several:
            raise ArgumentError(
                "device_id: several devices are for arrays of NumPy; tensors are worked on where they lie"
            )
        return None
    if not gpu and not devices("cuda"):
        if several:
            raise DeviceError(f"device_id={device_id!r}: there is no CUDA device here; benben.doctor() says why")
        return None  # programs that name a device run without one
    return tuple([int(n) for n in wanted])
