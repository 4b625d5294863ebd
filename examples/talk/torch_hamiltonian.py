"""
The talk: computing a Hamiltonian
=================================

H(q, p) = 1/2 sum_ij p_i . exp(-\|q_i - q_j\|^2 / s^2) p_j, the energy of a deformation, and its gradient: dense, with the
graph that PyTorch keeps for it, and symbolic. Mended: ``set_default_tensor_type`` is gone from PyTorch, and ``render`` opens
no window. The dense matrix of 100,000 points, which the symbolic one does without, takes 40 GB.

``python torch_hamiltonian.py 1000000`` takes a million points instead.
"""
# %%
import os
import pathlib
import sys
import time

import benben
import torch

benben.install_as_pykeops()
torch.set_default_dtype(torch.float32)
torch.manual_seed(0)
output = pathlib.Path(os.environ.get("BENBEN_EXAMPLES", "build/examples"))

# Clouds of 1000 points in 3D
N, D = 1000, 3

# Generate arbitrary arrays
q = torch.randn(N, D, requires_grad=True)
p = torch.randn(N, D, requires_grad=True)
s2 = torch.tensor([0.5 * 0.5], requires_grad=False)


# %%
# Dense.
def gaussian_kernel(x, y, sigma2):
    x_i = x[:, None, :]
    y_j = y[None, :, :]
    D_ij = ((x_i - y_j) ** 2).sum(-1)
    return (-D_ij / sigma2).exp()  # (M, N) matrix of Gaussian kernel


K_qq = gaussian_kernel(q, q, s2)
v = K_qq @ p  # mat. mult. (N,N) @ (N,D) = (N,D)

# Finally, compute the Hamiltonian H(q,p): .5 * <p,v>
H = .5 * torch.dot(p.view(-1), v.view(-1))

# %%
# The graph that PyTorch keeps: every node is a matrix of N x N numbers.
from torchviz import make_dot

make_dot(H, {"q": q, "p": p, "s": s2}, show_saved=True).render(output / "graph_dense", format="png", view=False)

# Automatic differentiation is straightforward... But memory greedy
[dq, dp] = torch.autograd.grad(H, [q, p])

# %%
# Symbolic: two lines change.
from pykeops.torch import LazyTensor


def gaussian_kernel_keops(x, y, sigma2):
    x_i = LazyTensor(x[:, None, :])  # ([M, 1], 1)
    y_j = LazyTensor(y[None, :, :])  # ([1, N], 1)
    D_ij = ((x_i - y_j) ** 2).sum(-1)  # ([M, N]) Symb. mat. of squared distances
    return (-D_ij / sigma2).exp()  # ([M, N]) Symb. mat. of Gaussian kernel


def hamiltonian(q, p):
    K_qq = gaussian_kernel_keops(q, q, s2)
    v = K_qq @ p  # mat. mult. ([N,N]) @ (N,D) = (N,D)
    # Finally, compute the Hamiltonian H(q,p): .5 * <p,v>
    return .5 * torch.dot(p.view(-1), v.view(-1))


symbolic = hamiltonian(q, p)
make_dot(symbolic, {"q": q, "p": p}).render(output / "graph_symbolic", format="png", view=False)
assert torch.allclose(symbolic, H, rtol=1e-5)
for found, expected in zip(torch.autograd.grad(symbolic, [q, p]), [dq, dp]):
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4 * expected.abs().max())

# %%
# ... and working where the dense one cannot.
N = int(sys.argv[1]) if sys.argv[1:] and sys.argv[1].isdigit() else 100_000
q = torch.randn(N, D, requires_grad=True)
p = torch.randn(N, D, requires_grad=True)


def memory(kind):  # MB, on Linux: VmRSS is in use now, VmHWM was in use at most
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith(kind))


with open("/proc/self/clear_refs", "w") as clear:
    clear.write("5")  # VmHWM begins anew
before, start = memory("VmRSS"), time.perf_counter()
H = hamiltonian(q, p)
[dq, dp] = torch.autograd.grad(H, [q, p])
seconds = time.perf_counter() - start
peak = memory("VmHWM")
print(f"N = {N:,}, D = {D}: H and its gradient in {seconds:.2f} s; memory {before:.0f} MB before, {peak:.0f} MB at its peak; "
      f"one dense matrix: {4 * N * N / 1e9:.1f} GB")

# Euler's relation: H is quadratic in p, so <p, dH/dp> = 2 H; translations leave it unchanged, so the dH/dq_i sum to zero.
assert torch.isclose((p * dp).sum(), 2 * H, rtol=1e-4)
assert dq.double().sum(0).abs().max() < 1e-4 * dq.abs().sum()
