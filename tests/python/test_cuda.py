"""CUDA without a graphics processor. The texts are compiled by NVRTC for three architectures, and what the compiler says of
registers, stack and spills, and the disassembly, are read. Launches, copies and errors are those of the library with a
stand-in for libcuda (tests/standin/cuda.c), which checks what it is given and computes nothing."""
import functools
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import bb
import gpu_units
import test_operations
from gpu_units import ARCHITECTURES, NVDISASM, NVRTC, Compiled, kernels
from standin_driver import DRIVER

STANDIN = bb.BUILD / "tests" / "libstandin_cuda.so"

pytestmark = [pytest.mark.full, pytest.mark.skipif(not NVRTC or not NVDISASM.exists(), reason=(
    "NVRTC and nvdisasm are not installed: tools/require.sh python tests/requirements-cuda.txt"))]


# ---- texts ----
def loops(steps):
    """The innermost loops: what stands between a label and a jump back to it, without another label's jump inside."""
    place = {op: k for k, (op, operands) in enumerate(steps) if operands is None}
    out = []
    for k, (op, operands) in enumerate(steps):
        target = re.search(r"\((\.L\w+)\)", operands or "")
        if op.startswith("BRA") and target and place.get(target[1], k) < k:
            out.append((place[target[1]], k + 1))
    return [steps[a:b] for a, b in out if not any(a <= x and y <= b and (x, y) != (a, b) for x, y in out)]


def usual(body):
    """The steps of a loop that run where every jump forwards is taken: the rare cases lie behind them."""
    out, k = [], 0
    place = {op: n for n, (op, operands) in enumerate(body) if operands is None}
    while k < len(body):
        op, operands = body[k]
        target = re.search(r"\((\.L\w+)\)", operands or "") if op.startswith("BRA") else None
        if operands is not None:
            out.append(op)
        k = place[target[1]] if target and place.get(target[1], -1) > k else k + 1
    return out


def slots_per_pair(steps, mark, per_pair=1):
    """Issue slots per pair of the loop that has most of `mark`, an instruction of which a pair needs `per_pair`."""
    best = max(map(usual, loops(steps)), key=lambda ops: sum(op.startswith(mark) for op in ops))
    pairs = sum(op.startswith(mark) for op in best) / per_pair
    return len(best) / pairs, pairs


GAUSS = ("sum_j(exp(-sqdist(x, y) / s) * b)", "x:i3", "y:j3", "b:j1", "s:p1")
MAIN = {
    "gauss": GAUSS,
    "gauss of 10 columns": ("sum_j(exp(-sqdist(x, y) / s) * b)", "x:i3", "y:j3", "b:j10", "s:p1"),
    "gauss, high dimension": ("sum_j(exp(-sqdist(x, y) / s) * b)", "x:i50", "y:j50", "b:j1", "s:p1"),
    "laplacian": ("sum_j(exp(-sqrt(sqdist(x, y))) * b)", "x:i3", "y:j3", "b:j1"),
    "energy": ("sum_j(-sqrt(sqdist(x, y)) * b)", "x:i3", "y:j3", "b:j1"),
    "inverse": ("sum_j(inv(1 + sqdist(x, y)) * b)", "x:i3", "y:j3", "b:j1"),
    "argmin": ("argmin_j(sqdist(x, y))", "x:i3", "y:j3"),
    "nearest": ("argkmin_j(sqdist(x, y), 10)", "x:i3", "y:j3"),
    "log-sum-exp": ("logsumexp_j(-sqdist(x, y))", "x:i3", "y:j3"),
    "softmax": ("sumsoftmaxweight_j(x | y, b)", "x:i3", "y:j3", "b:j3"),
}


@functools.cache
def main_kernels(dtype, arch):
    """The main kernels and the gradient of the Gaussian as one text: what was compiled, {name: [(symbol, text)]}."""
    texts = {name: kernels(*formula, dtype=dtype) for name, formula in MAIN.items()}
    texts["gradient"] = gpu_units.kernels_of(bb.parse(*GAUSS).grad(["x"]), dtype)
    made, symbols = gpu_units.together(sum(texts.values(), []), arch)
    left = iter(symbols)
    return made, {name: [(next(left), text) for text in found] for name, found in texts.items()}


@pytest.mark.parametrize("dtype, arch", [*(("float32", arch) for arch in ARCHITECTURES), ("float64", 90)])
def test_main_kernels_stay_in_registers(dtype, arch):
    made, named = main_kernels(dtype, arch)
    for name, found in named.items():
        for symbol, text in found:
            facts = made.kernel[symbol]
            assert facts["spills"] == 0 and facts["stack"] == 0, (name, facts)
            assert facts["registers"] <= gpu_units.most_registers(text), (name, facts)
            assert facts["shared"] <= 2048, (name, facts)  # beside the tile: see BBI_GPU_TILE
    assert bool(made.wide()) == (dtype == "float64")


# What a pair needs, in issue slots; about half a slot more is for loads, the loop and what happens once a row.
SLOTS = [
    ("gauss", "MUFU.EX2", 1, 6.5),         # distance 1 + 3, exponential 1, product and sum 1
    ("argmin", "FFMA", 3, 6),              # distance 3 (the row's norm is in the limit), minimum 1, comparison once a row
    ("nearest", "FFMA", 3, 7.75),          # as argmin, but one row a thread: branch, loads and loop for four pairs
    ("log-sum-exp", "MUFU.EX2", 1, 9.5),   # distance 4, maximum 1, exponent 1, exponential 1, sum 1; a branch a row
    ("gradient", "MUFU.EX2", 1, 13),       # differences 3, distance 3, scale 1, exponential 1, weight 1, sums 3
]


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_issue_slots_per_pair(arch):
    """Expanded distances, prescaled, the scale of the exponential folded in, columns loaded four at a time."""
    made, named = main_kernels("float32", arch)
    for name, mark, per_pair, most in SLOTS:
        slots, pairs = slots_per_pair(made.instructions(named[name][0][0]), mark, per_pair)
        assert pairs >= (4 if name == "nearest" else 16) and slots <= most, (name, slots, pairs)


def test_gradients_of_the_gaussian_stay_in_registers():
    program = bb.parse(*GAUSS)
    text = program.grad(["x", "y", "b"]).show("cuda")
    for source in [part for part in re.split(r"/\* ==== stage \d+[^\n]*\n", text) if part.strip()]:  # with the kernels around the pairs
        assert Compiled(source, 90).spills == 0


OPERATIONS = list(test_operations.CASES)
covering = functools.cache(lambda: gpu_units.covering(OPERATIONS))


def test_the_covering_array_has_all_pairs():
    chosen, covered = covering()
    assert set().union(*map(gpu_units.pairs_of, chosen)) == covered >= set(gpu_units.wanted(OPERATIONS))


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_pair_of_operation_reduction_schedule_and_type_compiles(arch):
    """A covering array: kernels such that any two levels of operation, reduction, type, architecture, axis, rows of a
    thread, scheme of summation, width of totals and kind of distances meet in one of them."""
    chosen = [choice for choice in covering()[0] if choice["arch"] == arch]

    def work(unit):
        arch, texts = unit
        made, symbols = gpu_units.together([text for text, _ in texts], arch)
        wide = made.wide() if texts[0][1]["dtype"] == "float32" and not texts[0][1]["wide"] else {}
        return [(choice, text, made.kernel[symbol], wide.get(symbol)) for symbol, (text, choice) in zip(symbols, texts)]

    wrong, full, crowded, count = [], 0, 0, 0
    for result in gpu_units.in_parallel(work, gpu_units.units(chosen)):
        for choice, text, facts, wide in result:
            if facts["spills"] or facts["stack"] or wide or facts["shared"] > 2048:
                wrong.append((choice, facts, wide))
            if facts["registers"] > gpu_units.most_registers(text):
                wrong.append((choice, facts))
            full += facts["registers"] > 96
            crowded += facts["registers"] > 128
            count += 1
    assert not wrong, wrong
    assert full < 0.35 * count and crowded < 0.1 * count, (full, crowded, count)  # 96: five blocks on a multiprocessor


def test_the_texts_of_both_targets_differ_in_their_preludes_only():
    for formula in MAIN.values():
        cuda, opencl = (kernels(*formula, target=t)[0] for t in ("cuda", "opencl"))
        mark = "/* The vocabulary of graphics processors"
        assert cuda[cuda.index(mark):] == opencl[opencl.index(mark):]


def test_the_preludes_of_both_targets_have_the_same_words():
    """What the texts behind them use of one is there in the other; what only one has is its own business, and named here."""
    folder = bb.ROOT / "src" / "backend" / "prelude"
    words = {}
    for target, files in (("cuda", ("cuda.h", "cuda_trig.h")), ("opencl", ("opencl.h",))):
        text = "".join((folder / file).read_text() for file in files)
        words[target] = set(re.findall(r"#define (\w+)", text)) | set(re.findall(r"^(?:BB_\w+|static inline) \w+ (\w+)\(", text, re.M))
    behind = "".join(path.read_text() for path in [*folder.glob("gpu*.h"), *(bb.ROOT / "src" / "plan").glob("emit_gpu*.c")])
    used = set(re.findall(r"\w+", behind))
    assert len(words["cuda"] & words["opencl"]) > 30
    assert not used & (words["cuda"] ^ words["opencl"]), used & (words["cuda"] ^ words["opencl"])


# ---- launches ----
def standin(code, tmp_path, **environment):
    log = tmp_path / "log"
    log.write_text("")
    environment = {"BENBEN_DEVICE_POOL": "0", "BENBEN_LIBCUDA": str(STANDIN), "BENBEN_NVRTC": NVRTC, "STANDIN_LOG": str(log), "BENBEN_TEST_TARGET": "cuda",
                   **environment}
    done = subprocess.run([sys.executable, "-c", "import numpy as np, bb\n" + code], capture_output=True, text=True,
                          env={**os.environ, **environment}, cwd=os.path.dirname(__file__), timeout=120)
    lines = log.read_text().splitlines()
    assert done.returncode == 0, done.stderr
    assert not [line for line in lines if line.startswith("WRONG")]
    held = [line for line in lines if line.startswith("held")]
    kept = environment["BENBEN_DEVICE_POOL"] != "0" or any("stream other" in line for line in lines)  # for the next run
    assert kept or not held or held[-1] == "held 0"
    assert sum(line == "cuCtxPushCurrent" for line in lines) == sum(line == "cuCtxPopCurrent" for line in lines)
    return done.stdout.split(), lines


PROGRAM = """
k = bb.parse("sum_j(exp(-sqdist(x, y)) * b)", "x:i3", "y:j3", "b:j1").compile(target="cuda")
def run(m, n, *batch):
    one = lambda rows, dim: np.ones((*batch, rows, dim), np.float32)
    return k(one(m, 3), one(n, 3), one(n, 1))
"""


@pytest.mark.parametrize("m, n, batch", [(1, 1, ()), (5, 100000, ()), (100000, 300, ()), (70, 70, (40,)), (1000, 1000, ())])
def test_launches_cover_all_pairs(m, n, batch, tmp_path):
    """The stand-in gives 1 as every part of every sum: the result is the number of parts."""
    printed, lines = standin(PROGRAM + f"""
out = run({m}, {n}, *{batch})
assert out.shape == {(*batch, m, 1)} and (out == out.flat[0]).all()
print(int(out.flat[0]))
""", tmp_path)
    launch = next(line for line in lines if line.startswith("cuLaunchKernel") and line.endswith("benben_pairs"))
    g = {key: int(value) for key, value in re.findall(r"(\w+) (\d+)", next(v for v in lines if v.startswith("geometry")))}
    assert int(printed[0]) == g["parts"]
    assert "block 128 1 1" in launch and "stream own" in launch
    assert int(re.search(r"grid (\d+) 1 1", launch)[1]) == g["groups"] * g["chunks"] * g["slots"]
    assert g["rows"] == m and g["columns"] == n and g["slots"] == max(1, int(np.prod(batch)))
    assert not [v for v in lines if v.endswith("other")], "a stream that is not ours"


FUNCTIONS = ["cuMemAlloc_v2:1", "cuMemAlloc_v2:4", "cuMemAlloc_v2:8", "cuMemcpyHtoDAsync_v2:1", "cuMemcpyHtoDAsync_v2:3",
             "cuMemcpyDtoHAsync_v2:1", "cuLaunchKernel:1", "cuLaunchKernel:3", "cuStreamSynchronize:2", "cuModuleLoadData:1",
             "cuModuleGetFunction:1", "cuCtxPushCurrent_v2:2", "cuDevicePrimaryCtxRetain:1", "cuStreamCreate:1", "cuInit:1"]


@pytest.mark.parametrize("failing", FUNCTIONS)
def test_a_failure_is_an_error_and_leaves_everything_usable(failing, tmp_path):
    code = 2 if "MemAlloc" in failing else 700
    printed, lines = standin(PROGRAM + """
try:
    run(100, 200)
except bb.Error as error:
    print(error.status)
    assert "CUDA" in str(error), error
print(int(run(100, 200).flat[0]))
""", tmp_path, STANDIN_FAIL=f"{failing}:{code}")
    assert printed[0] == ("OUT_OF_MEMORY" if code == 2 else "DEVICE") and len(printed) == 2


def test_memory_that_runs_out_is_an_error_that_says_what_to_do(tmp_path):
    printed, _ = standin(PROGRAM + """
try:
    run(100000, 100000)
except bb.Error as error:
    assert "divide the rows" in str(error), error
    print(error.status)
print(int(run(10, 10).flat[0]))
""", tmp_path, STANDIN_MEMORY="1000000")
    assert printed[0] == "OUT_OF_MEMORY" and int(printed[1]) >= 1


def test_blocks_are_kept_for_the_next_run(tmp_path):
    _, lines = standin(PROGRAM + "for _ in range(5): run(1000, 1000)", tmp_path, BENBEN_DEVICE_POOL="1")
    first = next(k for k, line in enumerate(lines) if line.endswith("own benben_finish"))
    assert not any(line.startswith("cuMemAlloc") for line in lines[first:])
    assert sum(line.endswith("own benben_pairs") for line in lines) == 5


DEVICE_ARRAYS = PROGRAM + DRIVER + """
pointers, keep = [], []

def on_device(values, device=0):
    a, pointer = np.ascontiguousarray(values), c.c_uint64()
    call("cuMemAlloc_v2", c.byref(pointer), c.c_size_t(a.nbytes))
    pointers.append(pointer)
    call("cuMemcpyHtoDAsync_v2", pointer, a.ctypes.data_as(c.c_void_p), c.c_size_t(a.nbytes), None)
    made = bb.describe(a)
    made.data, made.device_type, made.device_id = pointer.value, 2, device
    return made

def run_on_device(kernel, values, out, **more):
    options = bb.run_options()
    options.device_type, options.stream = 2, 12345
    inputs = (bb.Array * len(values))(*values)
    shape = kernel.shape(inputs_with(inputs, values), 0, options)
    assert shape == (out.shape[0], out.shape[1]), shape
    bb.check(bb.lib.bb_run(kernel.handle, inputs, len(values), (bb.Array * 1)(out), 1, c.byref(options)))

def inputs_with(inputs, values):
    inputs.keep = values
    return inputs
"""


@pytest.mark.parametrize("target", ["cuda", "auto"])
def test_arrays_of_the_device_are_taken(target, tmp_path):
    """In place, in the caller's stream, without touching what lies between strided results."""
    printed, lines = standin("import os\n" + DEVICE_ARRAYS.replace('target="cuda"', f'target="{target}"') + """
bb.DEVICE = None
k = bb.parse("sum_j(exp(-sqdist(x, y)) * b)", "x:i3", "y:j3", "b:j1").compile(target="%s")
m, n = 130, 70
out = on_device(np.full((m, 2), 7, np.float32))
out.shape[1] = 1                                # every second number of its memory
out.strides[0], out.strides[1] = 2, 1
values = [on_device(np.ones(s, np.float32)) for s in ((m, 3), (n, 3), (n, 1))]
run_on_device(k, values, out)
back = np.empty((m, 2), np.float32)
call("cuMemcpyDtoHAsync_v2", back.ctypes.data_as(c.c_void_p), c.c_uint64(out.data), c.c_size_t(back.nbytes), None)
assert (back[:, 1] == 7).all() and (back[:, 0] == back[0, 0]).all() and back[0, 0] < 7
try:
    run_on_device(k, values[:2] + [on_device(np.ones((n, 1), np.float32), device=1)], out)
except bb.Error as error:
    print(error.status, "together" in str(error))
for pointer in pointers:
    call("cuMemFree_v2", pointer)
""" % target, tmp_path)
    assert printed == ["DEVICE", "True"]
    assert "cuStreamSynchronize other" not in lines
    assert all("stream other" in line for line in lines if line.startswith("cuLaunchKernel"))
    assert sum(line.endswith("other benben_pairs") for line in lines) == 1


def test_cubins_are_cached_by_content_and_version(tmp_path):
    cache = {"BENBEN_CACHE_DIR": str(tmp_path / "cache"), "BENBEN_DEBUG": "c"}
    compiles = []
    for arch in (90, 90, 80):
        log = tmp_path / "stderr"
        _, lines = standin(f"import os; os.dup2(os.open({str(log)!r}, os.O_CREAT | os.O_TRUNC | os.O_WRONLY), 2)\n"
                           + PROGRAM + "run(10, 10)", tmp_path, STANDIN_ARCH=str(arch), **cache)
        compiles.append(log.read_text().count("nvrtc --gpu"))
        assert "cuModuleLoadData cubin" in lines
    assert compiles == [2, 0, 2]  # pairs; what stands around them


def test_a_device_newer_than_the_compiler_gets_ptx(tmp_path):
    _, lines = standin(PROGRAM + "run(10, 10)", tmp_path, STANDIN_ARCH="125")
    assert "cuModuleLoadData ptx" in lines


AUTOMATIC = """
p = bb.parse("sum_j(exp(-sqdist(x, y)) * b)", "x:i3", "y:j3", "b:j1")
k = p.compile(target="auto")
def run(m, n):
    return k(*(np.full(s, 0.5, np.float32) for s in ((m, 3), (n, 3), (n, 1))), threads=1)
"""


def test_a_device_is_chosen_where_it_is_worth_the_transfer(tmp_path):
    """Small runs do not even look for a driver; a large one goes there."""
    _, lines = standin(AUTOMATIC + "assert np.allclose(run(1000, 1000), 500)", tmp_path)
    assert not lines
    _, lines = standin(AUTOMATIC + "run(300000, 300000)", tmp_path)
    assert any(line.startswith("cuLaunchKernel") for line in lines)


def test_a_chosen_device_that_fails_leaves_the_run_to_the_processor(tmp_path):
    standin(AUTOMATIC + "assert np.allclose(run(20000, 200000), 100000)", tmp_path, STANDIN_FAIL="cuLaunchKernel:1:700")


def test_the_choice_is_explained(tmp_path):
    printed, _ = standin(AUTOMATIC + """
print(p.target(100, 100)[0], p.target(10**7, 10**7)[0])
assert "pairs take about" in p.target(100, 100)[1] and p.target(100, 100)[1].startswith("cpu: ")
assert p.target(10**7, 10**7)[1].startswith("cuda: 1e+07 x 1e+07 pairs"), p.target(10**7, 10**7)
""", tmp_path)
    assert printed == ["2", "3"]
    standin(AUTOMATIC + 'assert p.target(9, 9) == (2, "cpu: BENBEN_TARGET says so")', tmp_path, BENBEN_TARGET="cpu")
    said = command("show", "sum_j(x * y)", "x:i1", "y:j1", "--size", "1e6x1e6", "--stage", "plan").stdout
    assert said.startswith("---- target\ncpu: no GPU found")
    assert command("show", "sum_j(x * y)", "x:i1", "y:j1", "--size", "7").returncode


def command(*arguments, **environment):
    return subprocess.run([bb.COMMAND, *arguments], capture_output=True, text=True,
                          env={**os.environ, "BENBEN_LIBCUDA": "/nonexistent/libcuda.so.1", **environment})


def test_without_a_driver_the_command_says_what_is_missing_and_what_to_do(tmp_path):
    for name in "xy":
        np.save(tmp_path / f"{name}.npy", np.ones((3, 1), np.float32))
    files = [f"x={tmp_path}/x.npy:i", f"y={tmp_path}/y.npy:j"]
    done = command("run", "sum_j(x * y)", *files, "--target", "cuda")
    assert done.returncode and "driver" in done.stderr and "Install" in done.stderr and "opencl" in done.stderr
    without = command("run", "sum_j(x * y)", *files, "--target", "cuda", BENBEN_LIBCUDA=str(STANDIN), BENBEN_NVRTC="/nonexistent")
    assert without.returncode and "NVRTC" in without.stderr


def test_doctor_says_what_was_found():
    found = command("doctor", BENBEN_LIBCUDA=str(STANDIN), BENBEN_NVRTC=NVRTC).stdout
    assert "stand-in 0, compute capability 9.0" in found and NVRTC in found
    missing = command("doctor", BENBEN_NVRTC="/nonexistent").stdout
    assert "no driver" in missing and "BENBEN_NVRTC" in missing
