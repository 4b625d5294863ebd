"""Reductions of formulas given as text, on PyTorch tensors."""

from __future__ import annotations

from typing import Any

from .._generic import GenericGenred, GenericKernelSolve, generic
from . import _tools


class Genred(GenericGenred):
    """A reduction of a formula over pairs (i, j), as a function of PyTorch tensors.

    formula: text such as ``"Exp(-SqDist(x, y)) * b"``; aliases: its variables in order, ``["x = Vi(3)",
    "y = Vj(3)", "b = Vj(1)"]``. reduction_op: 'Sum', 'LogSumExp', 'ArgKMin', ... (``benben ops`` lists them); axis: 0
    folds i and keeps j (the default, as in KeOps), 1 folds j and keeps i. opt_arg: K of the K smallest; formula2:
    weights. dtype_acc, use_double_acc, sum_scheme: accuracy of sums. The other keywords are accepted and change
    nothing.

    A call takes one tensor for each variable: (..., M, D) for Vi, (..., N, D) for Vj, (..., D) for Pm; the dimensions
    in front are batches and broadcast. It returns (..., M, D) or (..., N, D), differentiable to any order in both
    modes; indices are int64, without gradient. Types are promoted as PyTorch does; float16 and bfloat16 are added up in
    float32. Errors: ValueError where shapes or options do not fit, NameError for unknown names, SyntaxError for a
    formula that cannot be read.

    >>> import torch
    >>> from benben.torch import Genred
    >>> f = Genred("Exp(-SqDist(x, y)) * b", ["x = Vi(2)", "y = Vj(2)", "b = Vj(1)"], axis=1)
    >>> x = torch.tensor([[0., 0.], [1., 0.]], requires_grad=True)
    >>> f(x, x, torch.ones(2, 1)).sum().backward()
    >>> x.grad.round(decimals=3)
    tensor([[ 1.4720,  0.0000],
            [-1.4720,  0.0000]])
    """

    tools = _tools


class KernelSolve(GenericKernelSolve):
    """Solves sum_j K(x_i, y_j) a_j + alpha a_i = b_i for a by conjugate gradients; the formula is linear in the
    variable `varinvalias`, in whose place a call gets b. Differentiable to any order with respect to every tensor,
    alpha among them, by the implicit function theorem: memory and time do not grow with the number of iterations.

    >>> import torch
    >>> from benben.torch import KernelSolve
    >>> x, b = torch.linspace(0, 1, 5)[:, None], torch.ones(5, 1)
    >>> alpha = torch.tensor(0.1, requires_grad=True)
    >>> solve = KernelSolve("Exp(-SqDist(x, y)) * a", ["x = Vi(1)", "y = Vj(1)", "a = Vj(1)"], "a", axis=1)
    >>> a = solve(x, x, b, alpha=alpha)
    >>> torch.allclose(torch.exp(-(x - x.T)**2) @ a + 0.1 * a, b, atol=1e-5)
    True
    >>> a.sum().backward()
    >>> bool(torch.isclose(alpha.grad, -(a**2).sum(), rtol=1e-3))
    True
    """

    tools = _tools


def generic_sum(formula: str, output: str, *aliases: str, **keywords: Any) -> GenericGenred:
    """The sum of a formula; output, such as 'a = Vi(2)', says what is kept."""
    return generic(Genred, "Sum", formula, output, aliases, keywords)


def generic_logsumexp(formula: str, output: str, *aliases: str, **keywords: Any) -> GenericGenred:
    """The log-sum-exp of a formula."""
    return generic(Genred, "LogSumExp", formula, output, aliases, keywords)


def generic_argmin(formula: str, output: str, *aliases: str, **keywords: Any) -> GenericGenred:
    """The index of the smallest value of a formula."""
    return generic(Genred, "ArgMin", formula, output, aliases, keywords)


def generic_argkmin(formula: str, output: str, *aliases: str, **keywords: Any) -> GenericGenred:
    """The indices of the K smallest values; K is the dimension of output."""
    return generic(Genred, "ArgKMin", formula, output, aliases, keywords)
