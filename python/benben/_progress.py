"""Bars for long reductions and solves: tqdm's where it is installed, else a line of text."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO

from ._errors import ArgumentError

_DELAY = 0.5  # seconds before a bar appears
_shown: ContextVar[bool] = ContextVar("benben_progress", default=False)
_open = 0  # blocks of progress() that are open anywhere: a call looks no further where there is none


@contextmanager
def progress(show: bool = True) -> Iterator[None]:
    """Inside of `with benben.progress():` reductions and solves that take more than half a second show a bar on stderr,
    as with progress=True; progress(False) hides them. A keyword progress= of a call goes before.

    >>> import benben, numpy as np
    >>> from benben.numpy import Vi, Vj
    >>> x = np.ones((3, 1))
    >>> with benben.progress():
    ...     (Vi(x) * Vj(x)).sum(axis=1).ravel().tolist()
    [3.0, 3.0, 3.0]
    """
    global _open
    token = _shown.set(bool(show))
    _open += 1
    try:
        yield
    finally:
        _open -= 1
        _shown.reset(token)


def wanted(given: Any) -> bool:
    """Whether a call with progress=given tells how far it is."""
    if given is None:
        return _open > 0 and _shown.get()
    return given is not False


@contextmanager
def reporting(given: Any, what: str, solve: bool = False) -> Iterator[Callable[..., Any] | None]:
    """What to call with the part done (of a solve: with the number of iterations and the residual), or None."""
    if given is None:
        given = _open > 0 and _shown.get()
    if given is False:
        yield None
    elif given is True:
        bar = (_Iterations if solve else _Part)(what)
        try:
            yield bar
        finally:
            bar.close()
    elif callable(given):
        yield given
    else:
        raise ArgumentError(f"progress={given!r}: expected True, False, or a function of the part done")


class _Part:
    """done in [0, 1]."""

    options: dict[str, Any] = {"total": 100, "bar_format": "{desc}: {percentage:3.0f}% |{bar}| {elapsed}<{remaining}"}  # noqa: RUF012

    def __init__(self, what: str) -> None:
        try:
            tqdm = importlib.import_module("tqdm.auto").tqdm
        except ImportError:
            self.bar: Any = _Line(what)
        else:
            self.bar = tqdm(desc=what, delay=_DELAY, leave=False, **self.options)

    def __call__(self, done: float) -> None:
        self.bar.update(100 * done - self.bar.n)

    def close(self) -> None:
        """Removes the bar."""
        self.bar.close()


class _Iterations(_Part):
    """Iterations of a solver, of an unknown number."""

    options: dict[str, Any] = {"unit": " iterations"}  # noqa: RUF012

    def __call__(self, iteration: float, residual: float = 0.0) -> None:
        self.bar.set_postfix_str(f"residual {residual:.1e}", refresh=False)
        self.bar.update(iteration - self.bar.n)


class _Line:
    """The part of tqdm that is used, without tqdm."""

    def __init__(self, what: str, stream: TextIO | None = None) -> None:
        self.what, self.stream = what, stream or sys.stderr
        self.n, self.postfix = 0.0, ""
        self.began = self.last = time.monotonic()
        self.width = 0

    def set_postfix_str(self, text: str, refresh: bool = True) -> None:
        """What is shown behind the number."""
        self.postfix = text

    def update(self, more: float) -> None:
        """Shows the line, at most five times a second."""
        self.n += more
        now = time.monotonic()
        if now - self.began < _DELAY or now - self.last < 0.2:
            return
        self.last = now
        count = f"{self.n:.0f} iterations, {self.postfix}" if self.postfix else f"{self.n:.0f}%"
        text = f"{self.what}: {count}, {now - self.began:.0f} s"
        self.stream.write("\r" + text.ljust(self.width))
        self.stream.flush()
        self.width = len(text)

    def close(self) -> None:
        """Wipes the line."""
        if self.width:
            self.stream.write("\r" + " " * self.width + "\r")
            self.stream.flush()
