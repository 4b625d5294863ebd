"""The text of CUDA's kernels as HIP, for AMD's processors: compiled by clang alone, without ROCm and without a device.
What HIP's headers and its device library give is declared in tests/standin/hip.h."""
import pathlib
import re
import shutil
import subprocess

import gpu_units
import pytest
import test_cuda
import test_gpu
import test_operations
import test_reductions

CLANG = next((name for name in ("clang-19", "clang-20", "clang-18") if shutil.which(name)), None)
ARCHITECTURES = ("gfx90a", "gfx942", "gfx1100")
HEADER = pathlib.Path(__file__).parents[1] / "standin" / "hip.h"

pytestmark = [pytest.mark.full, pytest.mark.skipif(not CLANG, reason="clang-19 is not installed: tools/require.sh hip")]


def compiled(sources, arch, folder, level="-O3"):
    """Of each kernel: {what the assembler's notes say: number}"""
    names = [f"k{k}" for k in range(len(sources))]
    path = pathlib.Path(folder, f"{arch}.hip")
    path.write_text(f'#include "{HEADER}"\n' + gpu_units.unit(sources, names))
    done = subprocess.run([CLANG, "-x", "hip", "--cuda-device-only", f"--offload-arch={arch}", "-nogpulib", "-nogpuinc",
                           level, "-std=c++17", "-ffp-contract=off", "-S", "-o", "-", path],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:3000]
    found = {}
    for entry in done.stdout[done.stdout.index("amdhsa.kernels"):].split("  - .")[1:]:
        name = re.search(r"\.name: +(\w+)", entry)
        if name:
            found[name[1]] = {key: int(n) for key, n in re.findall(r"\.(\w+): +(\d+)$", entry, re.M)}
    assert set(found) == set(names)
    return [found[name] for name in names]


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_main_kernels_compile_for_amd_and_stay_in_registers(arch, tmp_path):
    for dtype in ("float32", "float64"):
        sources = sum((gpu_units.kernels(*formula, dtype=dtype) for formula in test_cuda.MAIN.values()), [])
        for facts in compiled(sources, arch, tmp_path):
            assert facts["vgpr_spill_count"] == 0 and facts["private_segment_fixed_size"] == 0, facts  # scalars spill to lanes
            assert facts["vgpr_count"] <= 256, facts


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_operation_and_reduction_compiles_for_amd(arch, tmp_path):
    """Each operation for one of the processors, each reduction for all."""
    number = ARCHITECTURES.index(arch)
    dtype = "float64" if number == 1 else "float32"
    sources = []
    for cases in list(test_operations.CASES.values())[number::len(ARCHITECTURES)]:
        formula, declared = test_gpu.per_pair(min(cases, key=lambda case: sum(case.dims)), 0)
        sources += gpu_units.kernels(formula, *declared, "w:j1", "z:j1", "u:i1", dtype=dtype, target="cuda few")
    for axis in "ji":
        for name in test_gpu.reductions(axis):
            sources += gpu_units.kernels(test_reductions.formula(name, axis), "x:i2", "y:j2", "b:j3", dtype=dtype)
    compiled(sources, arch, tmp_path, "-O1")
