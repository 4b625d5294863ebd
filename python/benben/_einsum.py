"""Sums of products by subscripts, as numpy.einsum has them, where LazyTensors take part."""

from __future__ import annotations

import math
from typing import Any

from ._errors import ArgumentError, ShapeError
from ._formula import PLACE_I, PLACE_J


def einsum(subscripts: str, *operands: Any) -> Any:
    """The sum of products that the subscripts say: einsum("ij,jd,id->i", K, b, a) for a LazyTensor K.

    Letters of a LazyTensor are those of its axes (..., M, N, D), D left out where it is 1; all LazyTensors have the
    same two letters for M and N, in either order. Arrays have batch letters, one of these two or none, and letters of
    components, of which there may be several. Without both of M and N in the result it is an array; with both, a
    LazyTensor. ArgumentError or ShapeError where that is not so.

    >>> import numpy as np
    >>> from benben.numpy import Vi, Vj, einsum
    >>> x, b = np.array([[1.0], [2.0]]), np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 3.0]])
    >>> K = Vi(x) * Vj(np.ones((3, 1)))
    >>> einsum("ij,jd->id", K, b).tolist()
    [[2.0, 4.0], [4.0, 8.0]]
    >>> float(einsum("i,ij,jd->", x[:, 0], K, b))
    30.0
    """
    terms, out = _parse(subscripts, len(operands))
    lazy = [k for k, x in enumerate(operands) if hasattr(x, "_formula")]
    if not lazy:
        raise ArgumentError("einsum: no operand is a LazyTensor; numpy.einsum is for arrays")
    at = max(lazy, key=lambda k: int(operands[k].nbatchdims))
    if len(set(terms[at])) < len(terms[at]):
        return _diagonal(subscripts, operands, terms, out)
    s = _Sum(operands[at], terms[at], out)
    factors = [s.factor(x, term, k) for k, (x, term) in enumerate(zip(operands, terms, strict=True))]
    f, letters = factors[0]
    for k in range(1, len(factors)):
        later = set(out).union(*terms[k + 1 :])
        f, letters = s.product(f, letters, *factors[k], later)
    return s.result(f, letters, out)


def _parse(subscripts: Any, count: int) -> tuple[list[str], str]:
    if not isinstance(subscripts, str):
        raise ArgumentError("einsum: expected subscripts such as 'ij,jd->id' first")
    text = subscripts.replace(" ", "")
    left, arrow, out = text.partition("->")
    terms = left.split(",")
    letters = "".join(terms)
    if not (letters + out).isalpha() or len(terms) != count:
        raise ArgumentError(f"einsum: {subscripts!r} for {count} operands: expected one term of letters for each")
    if not arrow:
        out = "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    if len(set(out)) < len(out) or set(out) - set(letters):
        raise ArgumentError(f"einsum: the result {out!r} of {subscripts!r} has a letter twice, or one of no operand")
    return terms, out


def _diagonal(subscripts: str, operands: Any, terms: list[str], out: str) -> Any:
    K, term = operands[0], terms[0]
    front = term[: K.nbatchdims] if len(terms) == 1 else ""
    if len(terms) != 1 or term[len(front) : len(front) + 2] != term[-1] * 2 or out not in (front + term[-1], front):
        raise ArgumentError(
            f"einsum: {subscripts!r}: a letter twice in one term is for the diagonal, 'ii->i' and 'ii->'"
        )
    return K.diagonal() if out != front else K.trace()


class _Sum:
    """Which letters are what: batch axes, the rows I and columns J of the matrix, components."""

    def __init__(self, K: Any, term: str, out: str) -> None:
        self.K, self.tools = K, K.tools
        n = K.nbatchdims
        if len(term) not in (n + 2, n + 3):
            raise ShapeError(f"einsum: {term!r} for a LazyTensor of the shape {K.shape}: a letter for each axis")
        self.batch, self.I, self.J = term[:n], term[n], term[n + 1]
        self.size: dict[str, int] = {}

    def _note(self, letter: str, size: int, number: int) -> None:
        if self.size.setdefault(letter, size) != size:
            raise ShapeError(
                f"einsum: the letter {letter} is {size} in operand {number}, {self.size[letter]} before it"
            )

    # ---- operands ----
    def factor(self, x: Any, term: str, number: int) -> tuple[Any, str]:
        """The operand as a LazyTensor, and the letters of its components."""
        if len(set(term)) < len(term):
            raise ArgumentError(f"einsum: the term {term!r} has a letter twice")
        return self._lazy(x, term, number) if hasattr(x, "_formula") else self._array(x, term, number)

    def _lazy(self, x: Any, term: str, number: int) -> tuple[Any, str]:
        n, dim = x.nbatchdims, x._shape[-1]
        if x.tools is not self.tools:
            raise ArgumentError(f"einsum: operand {number} is a LazyTensor of {x.tools.name}, not of {self.tools.name}")
        if len(term) != n + 3 and (len(term) != n + 2 or dim != 1):
            raise ShapeError(f"einsum: {term!r} for a LazyTensor of the shape {x.shape}: a letter for each axis")
        if {term[n], term[n + 1]} != {self.I, self.J} or not self.batch.endswith(term[:n]):
            raise ArgumentError(
                f"einsum: the LazyTensor {term!r} has not the letters {self.batch + self.I + self.J!r} of another one; "
                "products of matrices are operators: K @ L"
            )
        for letter, size, known in zip(term, x._shape, (*[True] * n, x.ni, x.nj, True), strict=False):
            if known is not None:
                self._note(letter, size, number)
        return (x if term[n] == self.I else x.T), term[n + 2 :]

    def _array(self, x: Any, term: str, number: int) -> tuple[Any, str]:
        x = x if self.tools.is_array(x) else self.tools.as_array(x, f"einsum: operand {number}")
        if len(term) != len(x.shape):
            raise ShapeError(f"einsum: {term!r} for an array of the shape {tuple(x.shape)}: a letter for each axis")
        if self.I in term and self.J in term:
            raise ArgumentError(f"einsum: operand {number}, {term!r}, is a dense matrix over {self.I} and {self.J}")
        for letter, size in zip(term, x.shape, strict=True):
            self._note(letter, int(size), number)
        front = self.batch[min((self.batch.index(c) for c in term if c in self.batch), default=len(self.batch)) :]
        row = "".join(c for c in term if c in (self.I, self.J))
        parts = "".join(c for c in term if c not in self.batch and c not in row)
        x = self.tools.permute(x, [term.index(c) for c in front + row + parts if c in term])
        sizes = [self.size[c] if c in term else 1 for c in front]
        x = x.reshape((*sizes, *(self.size[c] for c in row), self._dim(parts)))
        if row:
            return self.K.real_class._along(
                x, PLACE_I if row == self.I else PLACE_J, f"einsum: operand {number}"
            ), parts
        return self.K.real_class(x, axis=2), parts

    # ---- components ----
    def _dim(self, letters: str) -> int:
        return math.prod(self.size[c] for c in letters)

    def _sizes(self, letters: str) -> tuple[int, ...]:
        return tuple([self.size[c] for c in letters])

    def _ones(self, count: int) -> Any:
        return self.K.real_class([1.0] * count)

    def _laid_out(self, f: Any, letters: str, wanted: str) -> Any:
        """With components of these letters in this order, repeated along those that f has not."""
        if letters == wanted:
            return f
        missing = "".join(c for c in wanted if c not in letters)
        if not letters and f._shape[-1] == 1:
            return f * self._ones(self._dim(wanted))
        now = letters + missing
        order = tuple(wanted.index(c) for c in now)
        ones, sizes = self._ones(self._dim(missing)), self._sizes(missing) or (1,)
        if not missing:
            order = (*order, len(order))
        return f.keops_tensordot(ones, self._sizes(letters), sizes, (), (), order)

    def _summed(self, f: Any, letters: str, kept: set[str]) -> tuple[Any, str]:
        """Summed over the letters that are not kept."""
        away = [k for k, c in enumerate(letters) if c not in kept]
        rest = "".join(c for c in letters if c in kept)
        if not away:
            return f, letters
        if not rest:
            return f.sum(-1), ""
        sizes = tuple(self.size[letters[k]] for k in away)
        ones = self._ones(math.prod(sizes))
        return f.keops_tensordot(ones, self._sizes(letters), sizes, tuple(away), tuple(range(len(away)))), rest

    def product(self, f: Any, a: str, g: Any, b: str, later: set[str]) -> tuple[Any, str]:
        """f g, summed over the letters that nothing needs later."""
        f, a = self._summed(f, a, later | set(b))
        g, b = self._summed(g, b, later | set(a))
        shared = [c for c in a if c in b]
        if not a or not b:
            return f * g, a or b
        if a == b and not later & set(shared):
            return f | g, ""
        if not later & set(shared) and not (f.is_complex or g.is_complex):
            contracted = tuple(a.index(c) for c in shared), tuple(b.index(c) for c in shared)
            rest = "".join(c for c in a + b if c not in shared)
            return f.keops_tensordot(g, self._sizes(a), self._sizes(b), *contracted), rest
        both = a + "".join(c for c in b if c not in a)
        return self._summed(self._laid_out(f, a, both) * self._laid_out(g, b, both), both, later)

    # ---- the result ----
    def result(self, f: Any, letters: str, out: str) -> Any:
        """Folds i and j where the result lacks them."""
        f, letters = self._summed(f, letters, set(out))
        n = f.nbatchdims
        if self.I in out and self.J in out:
            return self._lazy_result(f, letters, out)
        axes = tuple(n + k for k, c in enumerate((self.I, self.J)) if c not in out)
        values = f.sum(axis=axes[0] if len(axes) == 1 else axes)
        row = self.I if self.I in out else self.J if self.J in out else ""
        extent = () if not row else (f._shape[n] if row == self.I else f._shape[n + 1],)
        values = values.reshape((*(f.batchdims or ()), *extent, *self._sizes(letters)))
        found = self.batch + row + letters
        away = tuple(k for k, c in enumerate(found) if c not in out)
        if away:
            values = values.sum(away)
        found = "".join(c for c in found if c in out)
        return self.tools.permute(values, [found.index(c) for c in out])

    def _lazy_result(self, f: Any, letters: str, out: str) -> Any:
        kept = "".join(c for c in self.batch if c in out)
        matrix = out[len(kept) : len(kept) + 2]
        if out[: len(kept)] != kept or set(matrix) != {self.I, self.J} or len(out) > len(kept) + 3:
            raise ArgumentError(
                f"einsum: the result {out!r} is a LazyTensor, whose letters are {kept + self.I + self.J!r}, and one "
                "for its vectors"
            )
        away = tuple(k for k, c in enumerate(self.batch) if c not in out)
        if away:
            f = f.sum(axis=away)
        return f if matrix == self.I + self.J else f.T
