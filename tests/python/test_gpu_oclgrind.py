"""Oclgrind interprets the OpenCL kernels item by item: no data race and no step beside an array in any skeleton of
src/plan/emit_gpu*.c. Results are compared with the interpreter's, too. A new skeleton is a line of SKELETONS. That the
checks can fail is shown with texts that macros of the compiler spoil."""
import os
import re
import subprocess
import sys

import pytest

import bb

OCLGRIND = "/usr/lib/oclgrind/liboclgrind-rt.so"
pytestmark = [pytest.mark.full, pytest.mark.skipif(
    not os.path.exists(OCLGRIND) or os.environ.get("BENBEN_TEST_TARGET", "opencl") != "opencl",
    reason="Oclgrind (Debian: oclgrind) is not installed")]

# name: (formula, declarations, what else a run is given). Sizes: rows x columns, or several of them.
GAUSS = "sum_j(exp(-sqdist(x, y)) * b)"
SKELETONS = {
    "sums, distances expanded": (GAUSS, "x:i3 y:j3 b:j1", {}),
    "sums, distances by differences": (GAUSS, "x:i3 y:j3 b:j1", {"moved": 1e4}),
    "sums of float64": (GAUSS, "x:i3 y:j3 b:j2", {"dtype": "float64"}),
    "few rows, chunks of columns": (GAUSS, "x:i3 y:j3 b:j1", {"size": (5, 530)}),
    "parts merged by a kernel": (GAUSS, "x:i2 y:j2 b:j1", {"size": (2, 300)}),
    "no column, no row": (GAUSS, "x:i3 y:j3 b:j1", {"size": (9, 0)}),
    "high dimension": (GAUSS, "x:i40 y:j40 b:j1", {}),
    "high dimension, many rows": (GAUSS, "x:i40 y:j40 b:j1", {"size": (70, 41)}),
    "columns that local memory does not hold": ("sum_j(exp(-sqdist(x, y)) * b)", "x:i150 y:j150 b:j2", {"size": (9, 130)}),
    "products of tiles": (GAUSS, "x:i3 y:j3 b:j20", {"size": (70, 130)}),
    "products of tiles, few rows": (GAUSS, "x:i3 y:j3 b:j20", {}),
    "products of tiles, high dimension": (GAUSS, "x:i40 y:j40 b:j33", {"size": (70, 41)}),
    "loops over components in tiles": (GAUSS, "x:i20 y:j20 b:j1", {"size": (70, 130)}),
    "loops over components in tiles, few rows": ("argmin_j(sqdist(x, y))", "x:i20 y:j20", {"size": (9, 130)}),
    "sums compensated": (GAUSS, "x:i3 y:j3 b:j1", {"scheme": "kahan"}),
    "sums to the end": (GAUSS, "x:i3 y:j3 b:j1", {"scheme": "direct"}),
    "sums in float64 of float32": (GAUSS, "x:i3 y:j3 b:j1", {"accumulate_double": True}),
    "sums over both axes, over i": ("sum_ij(exp(-sqdist(x, y))); sum_i(exp(-sqdist(x, y)) * x)", "x:i3 y:j3", {"size": (150, 53)}),
    "products and extremes": ("prod_j(1 + 0.01 * x * y); min_j(x - y); max_j(x * y); argmax_j(x | y)", "x:i2 y:j2", {}),
    "argmin, distances expanded": ("min_argmin_j(sqdist(x, y))", "x:i3 y:j3", {"size": (37, 300)}),
    "K smallest, K small": ("kmin_argkmin_j(sqdist(x, y), 3)", "x:i3 y:j3", {"size": (37, 300)}),
    "K smallest, K large": ("kmin_argkmin_j(sqdist(x, y), 40)", "x:i3 y:j3", {"size": (7, 200)}),
    "K smallest of vectors, high dimension": ("argkmin_j(x - y, 2); argkmin_j(sqdist(x, y), 3)", "x:i20 y:j20", {"size": (17, 53)}),
    "log-sum-exp": ("logsumexp_j(-sqdist(x, y))", "x:i3 y:j3", {"size": (37, 300)}),
    "softmax of weights": ("sumsoftmaxweight_j(x | y, b)", "x:i3 y:j3 b:j3", {}),
    "softmax of many weights": ("sumsoftmaxweight_j(x | y, b); maxsumshiftexp_j(x | y)", "x:i3 y:j3 b:j20", {}),
    "a stage that follows another": ("sum_j(exp(-sqdist(x, y) - logsumexp_j(-sqdist(x, y))) * b)", "x:i3 y:j3 b:j1", {}),
    "gradients": (GAUSS, "x:i3 y:j3 b:j1", {"gradient": ("x", "y", "b"), "tolerance": 1e-4}),
    "listed pairs": ("kmin_j(sqdist(x, y), 3)", "x:i3 y:j3", {"gradient": ("x",), "tolerance": 1e-4}),
    "listed pairs, transposed": ("kmin_j(sqdist(x, y), 3)", "x:i3 y:j3", {"gradient": ("y",), "tolerance": 1e-4}),
    "reductions of the caller's own": ("", "x:i1 y:j1", {"own": "variance", "tolerance": 2e-4}),
    "reductions of the caller's own, few rows": ("", "x:i2 y:j2", {"own": "extent", "size": (3, 300)}),
    "listed pairs over i": ("max_i(x * y); kmin_i(x - y * y, 2)", "x:i2 y:j2", {"gradient": ("x", "y"), "tolerance": 1e-4}),
    "values without pairs": ("sum_j(x * y) + sum(x * x)", "x:i3 y:j3", {}),
    "ranges": (GAUSS + "; argmin_j(sqdist(x, y)); logsumexp_i(x | y)", "x:i3 y:j3 b:j1", {"ranges": True, "size": (150, 200)}),
    "batches": (GAUSS + "; min_argmin_j(x | y)", "x:i3 y:j3 b:j1", {"batch": ((2, 1), (1, 3), (2, 3))}),
    "batches and ranges": (GAUSS, "x:i3 y:j3 b:j1", {"batch": ((2,), (2,), ()), "ranges": True}),
    "a selection beside an expanded distance": (GAUSS + "; argkmin_j(x | y, 2)", "x:i3 y:j3 b:j1", {"size": (70, 53)}),
    "packing of halves": (GAUSS, "x:i3 y:j3 b:j1", {"store": "float16", "tolerance": 1e-2}),
    "packing of bfloat16": (GAUSS, "x:i3 y:j3 b:j1", {"store": "bfloat16", "tolerance": 3e-2}),
    "packing of strided arrays": (GAUSS, "x:i3 y:j3 b:j1", {"strides": True}),
}

# What the texts of some have that the texts of others have not: a change of plan must not leave a skeleton untested.
MARKS = {
    "sums, distances expanded": r"BB_RAISE\(", "argmin, distances expanded": r"limit\[r\]",
    "columns that local memory does not hold": r"place_of\[q", "products of tiles": r"BB_PRODUCT\(at, from\)",
    "products of tiles, high dimension": r"BB_PRODUCT\(at, from\)", "K smallest, K large": r"= bb_insert\(value",
    "K smallest, K small": r"BB_UNROLL for \(int k = 2", "sums compensated": r"BB_TWO_SUM\(t0\[r\]", "listed pairs": r"benben_listed",
    "sums in float64 of float32": r"define BB_WIDE 1", "loops over components in tiles": r"= BB_LEFT\(0, r\)",
    "loops over components in tiles, few rows": r"= BB_LEFT\(0, r\)",
}


@pytest.mark.parametrize("name", MARKS)
def test_a_skeleton_is_the_one_that_it_is_named_after(name):
    formula, declared, how = SKELETONS[name]
    program = bb.parse(formula, *declared.split())
    if "gradient" in how:
        program = program.grad(how["gradient"])
    variant = {"kahan": " kahan", "direct": " direct"}.get(how.get("scheme"), "") + " wide" * how.get("accumulate_double", False)
    kernel = program.show("opencl" + variant, how.get("dtype", "float32"))
    assert re.search(MARKS[name], kernel[kernel.index("/* ==== kernel ==== */"):] if "WIDE" not in MARKS[name] else kernel)


RUN = """
import sys, numpy as np, bb, custom_reductions, test_runs
formula, declared, how = eval(sys.argv[1])
rng = np.random.default_rng(0)
declared, dtype = declared.split(), how.get("dtype", "float32")
if "own" in how:  # a reduction of the caller's: of x_i y_j, over j
    definition, dim, _ = getattr(custom_reductions, how["own"])()
    f = custom_reductions.variable(0, "i", dim) * custom_reductions.variable(1, "j", dim)
    outputs = [custom_reductions.custom(definition, 2, f), custom_reductions.reduce("sum", 2, f)]
    program = custom_reductions.program([("x", "i", dim), ("y", "j", dim)], *outputs)
else:
    program = bb.parse(formula, *declared)
m, n = how.get("size", (37, 53))
values = []
for k, d in enumerate(declared):
    place, dim = d.split(":")[1][0], int(d.split(":")[1][1:])
    step = 2 if how.get("strides") else 1
    batch = how.get("batch", ((),) * 3)[k]
    v = rng.uniform(0, 1.5 / max(1, dim / 3) ** 0.5, (*batch, step * (m if place == "i" else n), dim + step - 1)).astype(dtype)
    v = v[..., ::-step, :dim] if step == 2 else v
    if "moved" in how and d[0] in "xy":
        v = (v + how["moved"]).astype(dtype)
    values.append(v)
ranges = test_runs.random_ranges(rng, m, n, 3, 4)[0] if how.get("ranges") else None
oracle, inputs = program, list(values)
if how.get("gradient"):
    shapes = program(*values)
    program = program.grad(how["gradient"])
    values = inputs = inputs + [np.ones_like(s) for s in (shapes if isinstance(shapes, tuple) else (shapes,))]
if how.get("store") == "float16":
    values = [v.astype("float16") for v in values]
if how.get("store") == "bfloat16":
    values = [bb.bfloat16.of(v) for v in values]
assert "on the processor" not in program.show("opencl", dtype)
options = {key: how[key] for key in ("scheme", "accumulate_double") if key in how}
kernel = program.compile(target="opencl", **options)
found = kernel(*values, ranges=ranges, dtype=np.dtype(dtype))
expected = program.compile(target="interp")(*(v.astype("float64") for v in inputs), ranges=ranges)
assert kernel.tier(dtype)[0] == "opencl"
tolerance = how.get("tolerance", 1e-3 if "moved" in how else 2e-5)
for a, e in zip(found if isinstance(found, tuple) else (found,), expected if isinstance(expected, tuple) else (expected,)):
    assert a.shape == e.shape
    np.testing.assert_allclose(a, e, rtol=tolerance, atol=tolerance * max(1, np.abs(e[np.isfinite(e)]).max(initial=0)))
print("agrees")
"""


def oclgrind(skeleton, tmp_path, options=""):
    """(output, what Oclgrind says)"""
    log = tmp_path / "log"
    environment = {"BENBEN_OPENCL_LIBRARY": OCLGRIND, "OCLGRIND_DATA_RACES": "1", "OCLGRIND_UNIFORM_WRITES": "1",
                   "OCLGRIND_CHECK_API": "1", "OCLGRIND_LOG": str(log), "OCLGRIND_MAX_ERRORS": "20",
                   "BENBEN_OPENCL_OPTIONS": options}
    done = subprocess.run([sys.executable, "-c", RUN, repr(skeleton)], capture_output=True, text=True, timeout=170,
                          env={**os.environ, **environment}, cwd=os.path.dirname(__file__))
    return done, log.read_text() if log.exists() else ""


@pytest.mark.parametrize("name", SKELETONS)
def test_no_race_and_no_step_beside_an_array(name, tmp_path):
    done, said = oclgrind(SKELETONS[name], tmp_path)
    assert not said.strip(), said[:4000]
    rest = re.sub(r"^\d+ warnings? generated\.$", "", done.stderr, flags=re.M).strip()  # loops that are not unrolled
    assert done.returncode == 0 and done.stdout == "agrees\n" and not rest, done.stdout + done.stderr


SPOILED = {  # what the compiler is told, and what Oclgrind has to say of it
    "barriers are gone": ("-Dbarrier(fence)=", "data race"),
    "items stand beside their rows": ("-Dget_group_id(d)=(get_group_id(d)+100000)", "Invalid (read|write)"),
}


@pytest.mark.parametrize("name", ["sums, distances expanded", "high dimension", "products of tiles, few rows"])
@pytest.mark.parametrize("spoiled", SPOILED)
def test_a_spoiled_text_is_found_out(spoiled, name, tmp_path):
    options, wanted = SPOILED[spoiled]
    _, said = oclgrind(SKELETONS[name], tmp_path, options)
    assert re.search(wanted, said, re.I), said[:2000]
