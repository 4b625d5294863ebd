"""Every operation and every reduction of the tables on a graphics processor, in both real types and every storage type,
with ranges, batches and both, in every schedule: OpenCL on whatever device it has (PoCL makes one of the processor). Many
stand in one program, whose outputs share a kernel; that nothing is left out is asserted against the tables themselves."""
import itertools

import numpy as np
import pytest

import bb
import test_gpu
import test_operations
import test_runs
from test_gpu import TARGET

pytestmark = [pytest.mark.full, pytest.mark.skipif(test_gpu.WHY is not None, reason=f"{TARGET}: {test_gpu.WHY}")]

# ---- operations ----
MOST_ARRAYS = 40  # of a kernel: BBI_GPU_MAX_ARRAYS
CASES = [case for name in (row["name"] for row in bb.ops()) for case in test_operations.CASES[name]]


def programs():
    """Cases in programs, each of one kernel: an operation brings its operands, a result and a fold; w, u, z are shared."""
    made, arrays = [[]], 3
    for case in CASES:
        needed = len(case.names) + 2
        if arrays + needed > MOST_ARRAYS:
            made.append([])
            arrays = 3
        made[-1].append(case)
        arrays += needed
    return made


PROGRAMS = programs()


def test_every_operation_of_the_table_is_in_a_program():
    tested = {name for name, cases in test_operations.CASES.items() if set(cases) <= set(itertools.chain(*PROGRAMS))}
    assert tested == {row["name"] for row in bb.ops()} and all(test_operations.CASES.values())


def stored(values, kind):
    """(as they are stored, the same numbers in NumPy's terms)"""
    if kind == "bfloat16":
        made = bb.bfloat16.of(values)
        return made, made.numbers()
    made = values.astype(kind)
    return made, made


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_operations_are_numpys(number, dtype):
    cases, texts, declarations = PROGRAMS[number], [], []
    for k, case in enumerate(cases):
        text, declared = test_gpu.per_pair(case, k)
        texts.append(text)
        declarations += declared
    program = bb.parse("; ".join(texts), *declarations, "w:j1", "z:j1", "u:i1")
    shown = program.show("opencl", dtype)
    assert "benben_pairs" in shown and "on the processor" not in shown
    kernel = program.compile(target=TARGET)
    for storage in (("float32", "float16", "bfloat16") if dtype == "float32" else (dtype,)):
        values, expected = {}, []
        for k, case in enumerate(cases):
            arrays, weights = test_operations.inputs(case, dtype)
            names = [d.split(":")[0] for d in test_gpu.operands(case, k)[1]]
            held = {name: stored(v, storage) for name, v in arrays.items()}
            weights = stored(weights, storage)
            values.update(zip(names, (v for v, _ in held.values())), w=weights[0])
            expected.append(case.value({name: v for name, (_, v) in held.items()}, weights[1]))
        values.update(z=np.zeros((test_operations.N, 1), dtype), u=np.zeros((test_operations.M, 1), dtype))
        found = kernel(*(values[name] for name, _, _ in program.variables), dtype=dtype)
        assert kernel.tier(dtype)[0] == TARGET
        for case, dense, value, (place, _, _) in zip(cases, expected, found, program.outputs, strict=True):
            tolerance = case.tolerance * (4e-13 if dtype == "float64" else 2e-5)
            try:
                test_operations.close(value, dense if place == "i" else dense[0], tolerance)
            except AssertionError as error:
                raise AssertionError(f"{case.text} of {case.dims} in {storage}") from error


# ---- reductions ----
def formula(row, axis, dim):
    """Integers small enough to be exact in float32 where something is selected: indices and ties have to agree."""
    name, two = row["name"], row["formulas"] > 1
    scalar = two or name in ("logsumexp", "maxsumshiftexp", "softmax")
    f = f"sqdist(x, y) - 2 * {'elem(x, 0)' if scalar else 'extract(x, 0, 2)'}"
    if name == "prod":  # far from the ends of the range
        f = f"1 + 0.01 * sin({f})"
    elif scalar:
        f = f"{4 / dim} * ({f})"
    elif name in ("any", "all", "count"):
        f = f"relu({f})"
    made = f"{name}_{axis}({f}{', 3' if row['takes_k'] else ''}{', b' if two else ''})"
    return f"sum_{axis}({made} * b)" if name == "softmax" else made  # one number for each pair


def rows_of(axis):
    """The reductions that can be made along an axis: lists are of one axis."""
    found = []
    for row in bb.reductions():
        try:
            bb.parse(formula(row, axis, 2), "x:i2", "y:j2", "b:j3").show("opencl")
            found.append(row)
        except bb.Error:
            assert axis == "ij" and row["takes_k"], row["name"]
    return found


# name: dimension of the points, how it is compiled, (types, axes). "tiles" are rows in registers and columns in tiles, their
# chunks and few rows, by the sizes below.
BOTH, ONE_AXIS = ("float32", "float64"), ("j", "i")
SCHEDULES = {"tiles": (2, {}, BOTH, (*ONE_AXIS, "ij")), "high dimension": (20, {}, BOTH, ONE_AXIS),
             "wide": (2, {"accumulate_double": True}, ("float32",), ONE_AXIS),
             "compensated": (3, {"scheme": "kahan"}, BOTH, ONE_AXIS), "to the end": (1, {"scheme": "direct"}, BOTH, ONE_AXIS)}
SIZES = [(1, 1), (2, 2), (70, 11), (11, 129), (130, 127), (3, 1700), (300, 260), (0, 5), (5, 0)]
BATCH = (2, 3)


def points(m, n, dim, dtype, batch=((), (), ())):
    rng = np.random.default_rng(1000 * m + n)
    return ((rng.integers(-2, 3, (*batch[0], m, dim)) + np.arange(dim) % 2).astype(dtype),
            rng.integers(-2, 3, (*batch[1], n, dim)).astype(dtype),
            rng.uniform(0.5, 1.5, (*batch[2], n, 3)).astype(dtype))


def runs(dim, dtype, axis):
    """(what it is, arrays, ranges): at least as many as the lists have places (fewer: test_gpu.py's edges)"""
    rng = np.random.default_rng(dim)
    some = lambda m, n: test_runs.random_ranges(rng, m, n, 4, 5)[0]
    batch = ((2, 1), (1, 3), (2, 3))
    for m, n in (size for size in SIZES if axis == "ij" or size["ij".index(axis)] >= 3):
        yield f"{m} x {n}", points(m, n, dim, dtype), None
    for m, n in [(70, 11), (3, 1700), (300, 260)]:
        yield f"ranges {m} x {n}", points(m, n, dim, dtype), some(m, n)
    for m, n in [(7, 150), (90, 33)]:
        yield f"batches {m} x {n}", points(m, n, dim, dtype, batch), None
        yield f"batches and ranges {m} x {n}", points(m, n, dim, dtype, batch), some(m, n)
    yield "batches, ranges of each", points(75, 140, dim, dtype, batch), [some(75, 140) for _ in range(6)]


def check(name, found, expected, dtype, count):
    assert found.shape == expected.shape, name
    if found.dtype == np.int64:
        np.testing.assert_array_equal(found, expected, err_msg=name)
        return
    rounding = (1e-12 if dtype == "float64" else 2e-5) * max(1, np.sqrt(count))
    np.testing.assert_allclose(found, expected, rtol=10 * rounding, atol=rounding, err_msg=name)


REDUCTIONS = [(name, dtype, axis) for name, (_, _, dtypes, axes) in SCHEDULES.items() for dtype in dtypes for axis in axes]


@pytest.mark.parametrize("schedule, dtype, axis", REDUCTIONS)
def test_reductions_are_the_interpreters(schedule, dtype, axis):
    dim, options, _, _ = SCHEDULES[schedule]
    rows = rows_of(axis)
    texts = [formula(row, axis, dim) for row in rows] if dim > 1 else [
        formula(row, axis, dim).replace("extract(x, 0, 2)", "x") for row in rows]
    program = bb.parse("; ".join(texts), f"x:i{dim}", f"y:j{dim}", "b:j3")
    assert "on the processor" not in program.show("opencl", dtype)
    kernel, oracle = program.compile(target=TARGET, **options), program.compile(target="interp")
    names = sum(([f"{row['name']}_{axis}"] * row["outputs"] for row in rows), [])
    for what, values, ranges in runs(dim, dtype, axis):
        m, n = values[0].shape[-2], values[1].shape[-2]
        found = kernel(*values, ranges=ranges)
        expected = oracle(*(v.astype("float64") for v in values), ranges=ranges)
        for name, value, wanted in zip(names, found, expected, strict=True):
            check(f"{name}, {what}", value, wanted, dtype, {"i": m, "j": n, "ij": m * n}[axis])
    assert kernel.tier(dtype)[0] == TARGET


def test_every_reduction_of_the_table_is_tested_along_every_axis_in_every_type_and_schedule():
    table = {row["name"] for row in bb.reductions()}
    lists = {row["name"] for row in bb.reductions() if row["takes_k"]}
    for axis in ("i", "j", "ij"):
        assert {row["name"] for row in rows_of(axis)} == (table - lists if axis == "ij" else table)
    assert {(dtype, axis) for _, dtype, axis in REDUCTIONS} == set(itertools.product(BOTH, ("i", "j", "ij")))
    for name in SCHEDULES:
        types = ("float32",) if name == "wide" else BOTH  # float64 is as wide as it gets
        assert {(d, a) for s, d, a in REDUCTIONS if s == name} >= set(itertools.product(types, ONE_AXIS))
