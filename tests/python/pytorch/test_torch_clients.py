"""Programs written for pykeops, unchanged: its names for PyTorch, geomloss, gpytorch's KeOps kernels."""
import inspect

import pytest

torch = pytest.importorskip("torch")
import benben  # noqa: E402

benben.install_as_pykeops()


def test_the_names_of_pykeops_torch():
    import pykeops
    from pykeops.common.lazy_tensor import GenericLazyTensor
    from pykeops.torch import (ComplexLazyTensor, Genred, KernelSolve, LazyTensor, Pm, Vi, Vj,  # noqa: F401
                               generic_argkmin, generic_argmin, generic_logsumexp, generic_sum)
    from pykeops.torch.cluster import (cluster_centroids, cluster_ranges, cluster_ranges_centroids,  # noqa: F401
                                       from_matrix, grid_cluster, sort_clusters, swap_axes)
    from pykeops.torch.lazytensor.LazyTensor import Var  # noqa: F401
    from pykeops.torch.operations import KernelSolve as again
    from pykeops.torch.utils import squared_distances, torch_kernel, torchtools

    assert again is KernelSolve and issubclass(LazyTensor, GenericLazyTensor)
    x, y = torch.rand(4, 2), torch.rand(3, 2)
    torch.testing.assert_close(torch_kernel(x, y, 0.5, "gaussian"), torch.exp(-squared_distances(x, y) / 0.25))
    assert torchtools.dtypename(torchtools.dtype(x)) == "float32" and torchtools.size(x) == 8
    pykeops.test_torch_bindings()
    genuine = ("formula aliases reduction_op axis dtype opt_arg formula2 cuda_type dtype_acc use_double_acc sum_scheme "
               "enable_chunks rec_multVar_highdim use_fast_math").split()
    assert list(inspect.signature(Genred).parameters) == genuine


def test_generic_functions():
    from pykeops.torch import generic_argkmin, generic_argmin, generic_logsumexp, generic_sum

    x, y, b = torch.rand(4, 3), torch.rand(6, 3), torch.rand(6, 2)
    d = ((x[:, None] - y) ** 2).sum(-1)
    f = generic_sum("Exp(-SqDist(x, y)) * b", "a = Vi(2)", "x = Vi(3)", "y = Vj(3)", "b = Vj(2)")
    torch.testing.assert_close(f(x, y, b), torch.exp(-d) @ b)
    f = generic_sum("Exp(-SqDist(x, y))", "a = Vj(1)", "x = Vi(3)", "y = Vj(3)", dtype="float32")
    torch.testing.assert_close(f(x, y), torch.exp(-d).sum(0)[:, None])
    f = generic_logsumexp("-SqDist(x, y)", "a = Vi(1)", "x = Vi(3)", "y = Vj(3)")
    torch.testing.assert_close(f(x, y), (-d).logsumexp(1)[:, None])
    f = generic_argmin("SqDist(x, y)", "a = Vi(1)", "x = Vi(3)", "y = Vj(3)")
    assert torch.equal(f(x, y), d.argmin(1)[:, None])
    f = generic_argkmin("SqDist(x, y)", "a = Vi(2)", "x = Vi(3)", "y = Vj(3)")
    assert torch.equal(f(x, y), d.argsort(1)[:, :2])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_clusters(dtype):
    import numpy as np
    from pykeops.numpy import cluster as by_numpy
    from pykeops.torch import cluster

    x, w = torch.randn(50, 2, dtype=dtype), torch.rand(50, dtype=dtype)
    labels = cluster.grid_cluster(x, 0.7)
    np.testing.assert_array_equal(labels, by_numpy.grid_cluster((x - x.amin(0)).numpy(), 0.7))
    for weights in (None, w):
        found = cluster.cluster_ranges_centroids(x, labels, weights)
        expected = by_numpy.cluster_ranges_centroids(x.numpy(), labels.numpy(), None if weights is None else w.numpy())
        for f, e in zip(found, expected):
            np.testing.assert_allclose(f, e, rtol=1e-5)
            assert f.is_floating_point() == (e.dtype.kind == "f")
    ranges, centroids, _ = found
    (xs, ws), sorted_labels = cluster.sort_clusters((x, w), labels)
    np.testing.assert_array_equal(xs, by_numpy.sort_clusters(x.numpy(), labels.numpy())[0])
    keep = ((centroids[:, None] - centroids) ** 2).sum(-1) < 1
    six = cluster.from_matrix(ranges, ranges, keep)
    for f, e in zip(six, by_numpy.from_matrix(ranges.numpy(), ranges.numpy(), keep.numpy())):
        np.testing.assert_array_equal(f, e)
    assert cluster.swap_axes(six)[0] is six[3] and cluster.swap_axes(None) is None
    # and a block-sparse product with gradients
    from pykeops.torch import Vi, Vj

    mask = keep[sorted_labels.long()][:, sorted_labels.long()].to(dtype)
    xs, b = xs.clone().requires_grad_(), torch.randn(50, 2, dtype=dtype)
    K = (-((Vi(xs) - Vj(xs)) ** 2).sum(-1)).exp()
    K.ranges = six
    dense = torch.exp(-((xs[:, None] - xs) ** 2).sum(-1)) * mask
    for found, expected in ((K @ b, dense @ b), (K.T @ b, dense.T @ b)):
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(*[torch.autograd.grad((v ** 2).sum(), xs, retain_graph=True)[0]
                                     for v in (found, expected)], rtol=1e-4, atol=1e-4)


# ---- geomloss ----
@pytest.mark.full
@pytest.mark.parametrize("loss", ["sinkhorn", "gaussian", "laplacian", "energy"])
@pytest.mark.parametrize("p", [1, 2])
def test_backends_of_geomloss_agree(loss, p):
    geomloss = pytest.importorskip("geomloss")
    g = torch.Generator().manual_seed(0)
    x = torch.rand(200, 3, generator=g, dtype=torch.float64, requires_grad=True)
    y = torch.rand(150, 3, generator=g, dtype=torch.float64) * 0.8 + 0.3
    results = {}
    for backend in ("tensorized", "online", "multiscale"):
        options = dict(loss=loss, p=p, blur=0.1, backend=backend, scaling=0.7, truncate=None)
        value = geomloss.SamplesLoss(**options)(x, y)
        results[backend] = value, torch.autograd.grad(value, x)[0]
    value, gradient = results["tensorized"]
    # its dense distances are sqrt(clamp(., 1e-8)); its multiscale backend clusters the points
    exact = loss == "gaussian" or (loss == "sinkhorn" and p == 2)
    for backend, tolerance in (("online", 1e-8 if exact else 5e-4), ("multiscale", 2e-2)):
        found, slope = results[backend]
        torch.testing.assert_close(found.reshape(()), value, rtol=tolerance, atol=tolerance * 1e-2)
        if (loss, p, backend) == ("sinkhorn", 1, "multiscale"):  # far off with genuine pykeops too, which gives:
            assert abs(found.item() - 0.1728644758005657) < 1e-10 and abs(slope.abs().max() - 0.004994254539193063) < 1e-9
        else:
            assert (slope - gradient).abs().max() <= 10 * tolerance * gradient.abs().max()


# ---- gpytorch ----
def train(kernel, use_keops, steps=10):
    """Losses of a Gaussian process whose likelihood comes from conjugate gradients and Lanczos, or from Cholesky."""
    import gpytorch

    torch.manual_seed(1)
    x = torch.rand(60, 2, dtype=torch.float64)
    y = torch.sin(6 * x.sum(1)) + 0.05 * torch.randn(60, dtype=torch.float64)

    class Model(gpytorch.models.ExactGP):
        def __init__(self, likelihood):
            super().__init__(x, y, likelihood)
            self.mean_module = gpytorch.means.ConstantMean()
            self.covar_module = gpytorch.kernels.ScaleKernel(kernel)

        def forward(self, z):
            return gpytorch.distributions.MultivariateNormal(self.mean_module(z), self.covar_module(z))

    likelihood = gpytorch.likelihoods.GaussianLikelihood()
    model = Model(likelihood).double().train()
    objective = gpytorch.mlls.ExactMarginalLogLikelihood(likelihood, model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    settings = gpytorch.settings
    losses = []
    with (settings.max_cholesky_size(0 if use_keops else 800), settings.use_keops(use_keops),
          settings.num_trace_samples(400), settings.cg_tolerance(1e-5), settings.max_preconditioner_size(0),
          settings.eval_cg_tolerance(1e-6)):
        for step in range(steps):
            optimizer.zero_grad()
            torch.manual_seed(step)
            loss = -objective(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            mean = model(torch.linspace(0, 1, 14, dtype=torch.float64).reshape(7, 2)).mean
    return torch.tensor(losses), mean


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name, options", [("RBFKernel", {}), ("MaternKernel", {"nu": 1.5}), ("MaternKernel", {"nu": 2.5}),
                                           ("PeriodicKernel", {})])
def test_gaussian_processes_train_as_with_dense_kernels(name, options):
    gpytorch = pytest.importorskip("gpytorch")
    from gpytorch.kernels import keops

    losses, mean = train(getattr(keops, name)(**options), True)
    expected_losses, expected_mean = train(getattr(gpytorch.kernels, name)(**options), False)
    torch.testing.assert_close(losses, expected_losses, rtol=5e-3, atol=5e-3)  # of 400 random probes
    torch.testing.assert_close(mean, expected_mean, rtol=0, atol=2e-2)
