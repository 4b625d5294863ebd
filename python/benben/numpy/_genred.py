"""Reductions of formulas given as text, on NumPy arrays."""

from __future__ import annotations

from typing import Any

from .._generic import GenericGenred, GenericKernelSolve, generic
from . import _tools


class Genred(GenericGenred):
    """A reduction of a formula over pairs (i, j), as a function of NumPy arrays.

    formula: text such as ``"Exp(-SqDist(x, y)) * b"``; aliases: its variables in order, ``["x = Vi(3)",
    "y = Vj(3)", "b = Vj(1)"]``. reduction_op: 'Sum', 'LogSumExp', 'ArgKMin', ... (``benben ops`` lists them); axis: 0
    folds i and keeps j (the default, as in KeOps), 1 folds j and keeps i. opt_arg: K of the K smallest (where there
    are fewer, inf and the index -1 follow); formula2: weights. dtype_acc, use_double_acc, sum_scheme: accuracy of sums.
    The other keywords are accepted and change nothing.

    A call takes one array for each variable: (..., M, D) for Vi, (..., N, D) for Vj, (..., D) for Pm; the dimensions
    in front are batches and broadcast. It returns (..., M, D) or (..., N, D); indices are int64. Errors: ValueError
    where shapes or options do not fit, NameError for unknown names, SyntaxError for a formula that cannot be read.

    >>> import numpy as np
    >>> from benben.numpy import Genred
    >>> f = Genred("SqDist(x, y)", ["x = Vi(2)", "y = Vj(2)"], reduction_op="ArgMin", axis=1)
    >>> f(np.array([[0., 0.], [2., 2.]]), np.array([[3., 3.], [0., 1.], [1., 1.]])).ravel().tolist()
    [1, 0]
    """

    tools = _tools


class KernelSolve(GenericKernelSolve):
    """Solves sum_j K(x_i, y_j) a_j + alpha a_i = b_i for a by conjugate gradients; the formula is linear in the
    variable `varinvalias`, in whose place a call gets b.

    >>> import numpy as np
    >>> from benben.numpy import KernelSolve
    >>> x, b = np.linspace(0, 1, 5)[:, None], np.ones((5, 1))
    >>> solve = KernelSolve("Exp(-SqDist(x, y)) * a", ["x = Vi(1)", "y = Vj(1)", "a = Vj(1)"], "a", axis=1)
    >>> a = solve(x, x, b, alpha=0.1)
    >>> bool(np.allclose(np.exp(-(x - x.T)**2) @ a + 0.1 * a, b, atol=1e-5))
    True
    """

    tools = _tools


def generic_sum(formula: str, output: str, *aliases: str, **keywords: Any) -> GenericGenred:
    """The sum of a formula; output, such as 'a = Vi(2)', says what is kept.

    >>> from benben.numpy import generic_sum
    >>> generic_sum("x * y", "a = Vi(1)", "x = Vi(1)", "y = Vj(1)")([[1.0], [2.0]], [[1.0], [10.0]]).ravel().tolist()
    [11.0, 22.0]
    """
    return generic(Genred, "Sum", formula, output, aliases, keywords)


def generic_logsumexp(formula: str, output: str, *aliases: str, **keywords: Any) -> GenericGenred:
    """The log-sum-exp of a formula.

    >>> from benben.numpy import generic_logsumexp
    >>> generic_logsumexp("x + y", "a = Vi(1)", "x = Vi(1)", "y = Vj(1)")([[1.0]], [[0.0], [0.0]]).round(3).tolist()
    [[1.693]]
    """
    return generic(Genred, "LogSumExp", formula, output, aliases, keywords)


def generic_argmin(formula: str, output: str, *aliases: str, **keywords: Any) -> GenericGenred:
    """The index of the smallest value of a formula.

    >>> from benben.numpy import generic_argmin
    >>> generic_argmin("SqDist(x, y)", "a = Vi(1)", "x = Vi(1)", "y = Vj(1)")([[1.0]], [[4.0], [2.0]]).tolist()
    [[1]]
    """
    return generic(Genred, "ArgMin", formula, output, aliases, keywords)


def generic_argkmin(formula: str, output: str, *aliases: str, **keywords: Any) -> GenericGenred:
    """The indices of the K smallest values; K is the dimension of output.

    >>> from benben.numpy import generic_argkmin
    >>> generic_argkmin("SqDist(x, y)", "a = Vi(2)", "x = Vi(1)", "y = Vj(1)")([[1.0]], [[9.0], [4.0], [2.0]]).tolist()
    [[2, 1]]
    """
    return generic(Genred, "ArgKMin", formula, output, aliases, keywords)
