"""Programs in the way that users of pykeops write them (programs/*.py) run unchanged, and every public name is there."""
import importlib
import os
import pathlib
import subprocess
import sys

import pytest

import benben

PROGRAMS = sorted((pathlib.Path(__file__).parent / "programs").glob("*.py"))
SITE = os.path.dirname(os.path.dirname(os.path.abspath(benben.__file__)))
NAMES = {
    "pykeops": "__version__ verbose set_verbose clean_pykeops set_build_folder get_build_folder check_health config numpy "
               "test_numpy_bindings test_torch_bindings default_device_id show_cuda_status common",
    "pykeops.config": "gpu_available numpy_found torch_found pykeops_nvrtc_name pykeops_cpp_name pykeops_base "
                      "pykeops_cuda pykeops_openmp get_build_folder",
    "pykeops.numpy": "Genred KernelSolve LazyTensor ComplexLazyTensor Vi Vj Pm generic_sum generic_logsumexp "
                     "generic_argmin generic_argkmin cluster utils test_install",
    "pykeops.numpy.lazytensor.LazyTensor": "LazyTensor ComplexLazyTensor Vi Vj Pm Var",
    "pykeops.numpy.generic.generic_red": "Genred",
    "pykeops.numpy.generic.generic_ops": "generic_sum generic_logsumexp generic_argmin generic_argkmin",
    "pykeops.numpy.operations": "KernelSolve",
    "pykeops.numpy.cluster": "grid_cluster from_matrix sort_clusters cluster_ranges cluster_centroids "
                             "cluster_ranges_centroids swap_axes",
    "pykeops.numpy.utils": "squared_distances differences np_kernel log_np_kernel grad_np_kernel np_kernel_sphere "
                           "chain_rules log_sum_exp WarmUpGpu numpytools",
    "pykeops.numpy.test_install": "test_numpy_bindings",
    "pykeops.common.lazy_tensor": "GenericLazyTensor ComplexGenericLazyTensor",
    "pykeops.common.get_options": "get_tag_backend",
    "pykeops.common.parse_type": "get_sizes get_type",
    "pykeops.common.utils": "axis2cat cat2axis WarmUpGpu",
    "pykeops.common.gpu_utils": "get_gpu_number",
    "keopscore": "auto_factorize __version__ verbose set_verbose set_build_folder get_build_folder check_health "
                 "show_cuda_status clean_keops",
    "keopscore.config": "get_build_folder",
    "keopscore.utils.misc_utils": "KeOps_Error",
}
METHODS = """t matvec rmatvec solve abs exp log xlogx sin cos asin acos atan atan2 sinxdivx sinc sqrt rsqrt square power sign
step relu clamp ifelse mod round sqnorm2 norm2 norm normalize sqdist weightedsqnorm weightedsqdist difference_matrix
softdtw_sqdist elem extract one_hot bspline concat concatenate cat matvecmult vecmatmult tensorprod keops_tensordot
keops_kron grad diff grad_matrix divergence laplacian trace_operator factorize auto_factorize real2complex imag2complex exp1j
conj dim sum sum_reduction logsumexp logsumexp_reduction sumsoftmaxweight sumsoftmaxweight_reduction min max argmin argmax
min_reduction max_reduction argmin_reduction argmax_reduction min_argmin max_argmax min_argmin_reduction
max_argmax_reduction Kmin argKmin Kmin_argKmin Kmin_reduction argKmin_reduction Kmin_argKmin_reduction reduction
__call__ __matmul__ __add__ __radd__ __sub__ __rsub__ __mul__ __rmul__ __truediv__ __rtruediv__ __or__ __ror__ __pow__
__abs__ __neg__ __lt__ __le__ __gt__ __ge__ __eq__ __ne__ __getitem__ __str__""".split()
ATTRIBUTES = "shape _shape ndim dtype ni nj axis batchdims nbatchdims formula formula2 variables symbolic_variables ranges " \
             "backend is_complex T real imag tools Genred KernelSolve __GenericLazyTensor__".split()


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.stem)
def test_program(program, tmp_path):
    done = subprocess.run([sys.executable, "-m", "benben.pykeops", program], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "PYTHONPATH": SITE}, cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.split()[-1] == "done", done.stdout + done.stderr


@pytest.mark.parametrize("module", NAMES)
def test_public_names(module):
    own = module.replace("pykeops", "benben.pykeops", 1) if module.startswith("pykeops") else \
        module.replace("keopscore", "benben.pykeops._keopscore", 1)
    found = importlib.import_module(own)
    for name in NAMES[module].split():
        assert hasattr(found, name), name


def test_methods_and_attributes():
    import numpy as np

    from benben.pykeops.numpy import LazyTensor, Vi, Vj
    f = Vi(np.ones((4, 2))) | Vj(np.ones((5, 2)))
    for name in METHODS:
        assert callable(getattr(LazyTensor, name)), name
    for name in ATTRIBUTES:
        assert hasattr(f, name), name
    assert f.sum(axis=1, call=False).reduction_op == "Sum"


def test_what_users_of_the_configuration_ask(capsys):
    from benben.pykeops import _keopscore, config
    assert config.gpu_available is False or config.gpu_available is True
    assert isinstance(config.pykeops_base.get_build_folder(), str) and not config.pykeops_cuda.get_use_cuda()
    misc_utils = importlib.import_module("benben.pykeops._keopscore.utils.misc_utils")
    with pytest.raises(ValueError, match="found 2"):
        misc_utils.KeOps_Error("found 2")
    assert _keopscore.auto_factorize is False
