from collections.abc import Callable
from typing import Any

version: str

class Kernel:
    def run(
        self,
        inputs: tuple[Any, ...],
        outputs: tuple[Any, ...] | None = ...,
        ranges: Any = ...,
        rows_i: int = ...,
        rows_j: int = ...,
        threads: int = ...,
        progress: Callable[[float], Any] | None = ...,
        /,
    ) -> Any: ...
    def solve(
        self,
        inputs: tuple[Any, ...],
        unknown: int,
        alpha: float,
        tolerance: float,
        relative: bool,
        max_iterations: int,
        ranges: Any,
        report: Any,
        /,
    ) -> Any: ...
    def tier(self, dtype: str = ..., /) -> tuple[str, str]: ...
    def wait(self) -> None: ...

class Program:
    variables: list[tuple[str, str, int]]
    outputs: list[tuple[str, int, bool]]
    cost: float
    def show(self, what: str = ..., dtype: str = ..., /) -> str: ...
    def grad(self, variables: tuple[int, ...], forward: tuple[int, ...] = ..., /) -> Program: ...
    def diff(self, variables: tuple[int, ...], forward: tuple[int, ...] = ..., /) -> Program: ...
    def compile(
        self,
        target: str = ...,
        policy: str = ...,
        sum_scheme: str = ...,
        accumulate_double: bool = ...,
        rows: bool = ...,
    ) -> Kernel: ...

def parse(formula: str, declarations: tuple[str, ...], /) -> Program: ...
def build(code: list[Any], signature: tuple[tuple[int, int], ...], outputs: tuple[Any, ...], /) -> Program: ...
def dim(operation: str, dims: tuple[int, ...], integers: tuple[int, ...], /) -> int: ...
def operations() -> list[dict[str, Any]]: ...
def reductions() -> list[dict[str, Any]]: ...
def statistics() -> dict[str, int]: ...
def doctor() -> str: ...
def cache_info() -> tuple[str | None, int, int]: ...
def cache_clear() -> None: ...
