"""A thin ctypes wrapper over the shared library, for the tests: handles, arrays, and errors as exceptions."""
import ctypes as c
import os
import pathlib

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BENBEN_BUILD", ROOT / "build"))
COMMAND = BUILD / "benben"
LIBRARY = BUILD / "libbenben.so"

I64, P = c.c_int64, c.c_void_p
STATUS = ["OK", "OUT_OF_MEMORY", "BAD_ARGUMENT", "BAD_SYNTAX", "UNKNOWN_NAME", "BAD_SHAPE", "BAD_DTYPE", "BAD_RANGES",
          "NOT_DIFFERENTIABLE", "COMPILER", "CACHE", "DEVICE", "CANCELLED", "NO_CONVERGENCE", "INDEFINITE", "SYSTEM",
          "INTERNAL"]
PLACES = {0: "p", 1: "i", 2: "j"}
TARGETS = {"auto": 0, "interp": 1, "cpu": 2, "cuda": 3, "opencl": 4}
DEVICE = os.environ.get("BENBEN_TEST_TARGET")  # runs what the tests run in the interpreter on this target instead
POLICIES = {"auto": 0, "wait": 1, "background": 2}
METHODS = {"auto": 0, "cg": 1, "minres": 2}
PRECONDITIONERS = {"auto": 0, "none": 1, "rpcholesky": 2, "nystrom": 3, "blocks": 4, "neighbors": 5}
SCHEMES = {"auto": 0, "block": 1, "kahan": 2, "direct": 3}
DTYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 3, "int64": 4}


class Error(Exception):
    """A status that is not BB_OK: `status` is its name without BB_, the text the library's message."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = STATUS[status]


class Array(c.Structure):
    _fields_ = [("data", P), ("device_type", c.c_int32), ("device_id", c.c_int32), ("ndim", c.c_int32),
                ("dtype_code", c.c_uint8), ("dtype_bits", c.c_uint8), ("dtype_lanes", c.c_uint16),
                ("shape", c.POINTER(I64)), ("strides", c.POINTER(I64)), ("byte_offset", c.c_uint64)]


class VariableInfo(c.Structure):
    _fields_ = [("name", c.c_char_p), ("place", c.c_int), ("dim", I64)]


class OutputInfo(c.Structure):
    _fields_ = [("place", c.c_int), ("dim", I64), ("is_index", c.c_int)]


class CompileOptions(c.Structure):
    _fields_ = [("size", c.c_size_t), ("target", c.c_int), ("policy", c.c_int), ("sum_scheme", c.c_int),
                ("accumulate_double", c.c_int), ("accuracy", c.c_int)]


class Ranges(c.Structure):
    _fields_ = [("size", c.c_size_t), ("count_i", I64), ("count_j", I64)] + \
               [(name, c.POINTER(I64)) for name in ("ranges_i", "slices_i", "reduced_j", "ranges_j", "slices_j",
                                                    "reduced_i")]


PROGRESS = c.CFUNCTYPE(c.c_int, P, c.c_double)
REPORT = c.CFUNCTYPE(c.c_int, P, I64, c.c_double)


class RunOptions(c.Structure):
    _fields_ = [("size", c.c_size_t), ("threads", c.c_int), ("ranges", c.POINTER(Ranges)), ("ranges_count", I64),
                ("device_type", c.c_int32), ("device_id", c.c_int32), ("stream", P), ("allocate", P),
                ("release", P), ("allocator", P), ("progress", PROGRESS), ("progress_data", P), ("cancel", c.POINTER(c.c_int)),
                ("rows_i", I64), ("rows_j", I64), ("devices", c.POINTER(c.c_int)), ("device_count", c.c_int)]


class SolveOptions(c.Structure):
    _fields_ = [("size", c.c_size_t), ("alpha", c.c_double), ("tolerance", c.c_double), ("relative", c.c_int),
                ("max_iterations", I64), ("report", REPORT), ("report_data", P), ("run", c.POINTER(RunOptions)),
                ("method", c.c_int), ("precondition", c.c_int), ("rank", I64), ("memory", I64), ("seed", c.c_uint64),
                ("guess", c.POINTER(Array)), ("history", c.POINTER(c.c_double)), ("history_capacity", I64),
                ("clusters", c.POINTER(I64)), ("neighbors", c.POINTER(I64)), ("neighbor_rank", c.POINTER(I64)),
                ("neighbor_count", I64)]


class SolveResult(c.Structure):
    _fields_ = [("size", c.c_size_t), ("iterations", I64), ("residual", c.c_double), ("seconds", c.c_double),
                ("precondition", c.c_int), ("rank", I64), ("trace_left", c.c_double),
                ("precondition_seconds", c.c_double), ("products", I64), ("history_count", I64),
                ("remark", c.c_char_p)]


MULTIPLY = c.CFUNCTYPE(c.c_int, P, I64, c.POINTER(c.c_double), c.POINTER(c.c_double))
ENTRIES = c.CFUNCTYPE(c.c_int, P, I64, c.POINTER(I64), c.POINTER(c.c_double))
DIAGONAL = c.CFUNCTYPE(c.c_int, P, c.POINTER(c.c_double))
FUNCTION = c.CFUNCTYPE(c.c_double, P, c.c_double)


class Matrix(c.Structure):
    _fields_ = [("size", c.c_size_t), ("kernel", P), ("inputs", c.POINTER(Array)), ("input_count", c.c_int),
                ("unknown", c.c_int), ("run", c.POINTER(RunOptions)), ("rows", I64), ("single", c.c_int),
                ("multiply", MULTIPLY), ("entries", ENTRIES), ("diagonal", DIAGONAL), ("data", P),
                ("entry_cost", c.c_double)]


class TraceOptions(c.Structure):
    _fields_ = [("size", c.c_size_t), ("alpha", c.c_double), ("tolerance", c.c_double), ("probes", I64),
                ("max_probes", I64), ("steps", I64), ("dense_rows", I64), ("function", FUNCTION), ("function_data", P),
                ("precondition", c.c_int), ("rank", I64), ("memory", I64), ("seed", c.c_uint64),
                ("left", c.POINTER(c.c_double)), ("right", c.POINTER(c.c_double)), ("report", REPORT),
                ("report_data", P)]


class TraceResult(c.Structure):
    _fields_ = [("size", c.c_size_t), ("probes", I64), ("steps", I64), ("products", I64), ("statistical", c.c_double),
                ("quadrature", c.c_double), ("rounding", c.c_double), ("exact", c.c_int), ("precondition", c.c_int), ("rank", I64),
                ("trace_left", c.c_double), ("precondition_seconds", c.c_double), ("seconds", c.c_double),
                ("remark", c.c_char_p)]


class EigenOptions(c.Structure):
    _fields_ = [("size", c.c_size_t), ("count", I64), ("which", c.c_int), ("tolerance", c.c_double), ("block", I64),
                ("basis", I64), ("max_products", I64), ("memory", I64), ("seed", c.c_uint64), ("report", REPORT),
                ("report_data", P)]


class EigenResult(c.Structure):
    _fields_ = [("size", c.c_size_t), ("products", I64), ("residual", c.c_double), ("seconds", c.c_double),
                ("remark", c.c_char_p)]


class OpInfo(c.Structure):
    _fields_ = [("name", c.c_char_p), ("alias", c.c_char_p), ("kind", c.c_char_p), ("doc", c.c_char_p),
                ("arity", c.c_int), ("integers", c.c_int), ("cost", c.c_double), ("differentiable", c.c_int)]


class ReductionInfo(c.Structure):
    _fields_ = [("name", c.c_char_p), ("alias", c.c_char_p), ("doc", c.c_char_p), ("takes_k", c.c_int),
                ("formulas", c.c_int), ("is_index", c.c_int), ("outputs", c.c_int)]


class Statistics(c.Structure):
    _fields_ = [("size", c.c_size_t)] + [(name, I64) for name in ("compiles", "disk_hits", "memory_hits", "failures",
                                                                  "peak_memory", "ahead_hits")]


lib = c.CDLL(str(LIBRARY))
_strings = ("bb_last_error", "bb_version")
for _name in _strings:
    getattr(lib, _name).restype = c.c_char_p
lib.bb_status_text.restype = c.c_char_p
lib.bb_program_cost.restype = c.c_double
lib.bb_program_cost.argtypes = [P]
for _name in ("bb_context_release", "bb_program_release", "bb_kernel_release", "bb_program_retain", "bb_free"):
    getattr(lib, _name).argtypes = [P]
    getattr(lib, _name).restype = None
lib.bb_program_variable_count.argtypes = lib.bb_program_output_count.argtypes = [P]
lib.bb_program_variable.argtypes = [P, c.c_int, c.POINTER(VariableInfo)]
lib.bb_program_output.argtypes = [P, c.c_int, c.POINTER(OutputInfo)]
lib.bb_program_parse.argtypes = [P, c.c_char_p, c.POINTER(c.c_char_p), c.c_int, c.POINTER(P)]
lib.bb_grad.argtypes = lib.bb_diff.argtypes = [P, c.POINTER(c.c_int), c.c_int, c.POINTER(c.c_int), c.c_int,
                                               c.POINTER(P)]
lib.bb_program_show.argtypes = [P, c.c_char_p, c.c_int, c.POINTER(P)]
lib.bb_compile.argtypes = [P, c.POINTER(CompileOptions), c.POINTER(P)]
lib.bb_run.argtypes = [P, c.POINTER(Array), c.c_int, c.POINTER(Array), c.c_int, c.POINTER(RunOptions)]
lib.bb_output_shape.argtypes = [P, c.POINTER(Array), c.c_int, c.POINTER(RunOptions), c.c_int, c.POINTER(I64), c.c_int,
                                c.POINTER(c.c_int)]
lib.bb_kernel_tier.argtypes = [P, c.c_int, c.POINTER(c.c_char_p)]
lib.bb_kernel_wait.argtypes = [P]
lib.bb_solve.argtypes = [P, c.POINTER(Array), c.c_int, c.c_int, c.POINTER(Array), c.POINTER(SolveOptions),
                         c.POINTER(SolveResult)]


lib.bb_solve_matrix.argtypes = [c.POINTER(Matrix), c.POINTER(Array), c.POINTER(Array), c.POINTER(SolveOptions),
                                c.POINTER(SolveResult)]
for _function in (lib.bb_logdet, lib.bb_trace):
    _function.argtypes = [c.POINTER(Matrix), c.POINTER(TraceOptions), c.POINTER(c.c_double), c.POINTER(c.c_double),
                          c.POINTER(TraceResult)]
lib.bb_eigen.argtypes = [c.POINTER(Matrix), c.POINTER(EigenOptions), c.POINTER(c.c_double), c.POINTER(c.c_double),
                         c.POINTER(EigenResult)]


def check(status):
    if status:
        raise Error(status, lib.bb_last_error().decode(errors="replace"))


class bfloat16(np.ndarray):
    """uint16 words that hold bfloat16 numbers."""

    @staticmethod
    def of(values):
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16).view(bfloat16)

    def numbers(self):
        return (np.asarray(self).astype(np.uint32) << 16).view(np.float32)


def describe(a):
    """bb_array of a NumPy array, whatever its strides. The result keeps what it points to alive."""
    if isinstance(a, bfloat16):
        code, bits = 4, 16
    else:
        code, bits = {"f": 2, "i": 0}[a.dtype.kind], a.dtype.itemsize * 8
    shape = (I64 * max(a.ndim, 1))(*a.shape)
    strides = (I64 * max(a.ndim, 1))(*(s // a.itemsize for s in a.strides))
    out = Array(a.ctypes.data, 1, 0, a.ndim, code, bits, 1, shape, strides, 0)
    out.keep = (a, shape, strides)
    return out


def arrays(values):
    described = [describe(v) for v in values]
    out = (Array * max(len(described), 1))(*described)
    out.keep = described
    return out


def make_ranges(ranges):
    """A list of the six arrays, once or per batch element."""
    if isinstance(ranges, tuple):
        ranges = [ranges]
    out, keep = (Ranges * len(ranges))(), []
    for k, six in enumerate(ranges):
        six = [np.ascontiguousarray(a, np.int64) for a in six]
        keep.append(six)
        pointers = [a.ctypes.data_as(c.POINTER(I64)) for a in six]
        out[k] = Ranges(c.sizeof(Ranges), len(six[0]), len(six[3]), *pointers)
    out.keep = keep
    return out


def longs(a):
    return a.ctypes.data_as(c.POINTER(I64)) if a is not None else None


def run_options(threads=0, ranges=None, rows_i=0, rows_j=0, progress=None, cancel=None):
    options = RunOptions(size=c.sizeof(RunOptions), threads=threads, rows_i=rows_i, rows_j=rows_j)
    options.keep = []
    if ranges is not None:
        made = make_ranges(ranges)
        options.ranges, options.ranges_count = made, len(made)
        options.keep.append(made)
    if progress is not None:
        function = PROGRESS(lambda _, done: int(bool(progress(done))))
        options.progress = function
        options.keep.append(function)
    if cancel is not None:
        options.cancel = c.pointer(cancel)
    return options


class Context:
    def __init__(self):
        self.handle = P()
        check(lib.bb_context_new(c.byref(self.handle)))

    def __del__(self):
        lib.bb_context_release(self.handle)


_context = None


def shared_context():
    global _context
    if _context is None:
        _context = Context()
    return _context


class Program:
    def __init__(self, handle):
        self.handle = handle

    def __del__(self):
        lib.bb_program_release(self.handle)

    @property
    def variables(self):
        """[(name, place, dim)]"""
        out = []
        for k in range(lib.bb_program_variable_count(self.handle)):
            info = VariableInfo()
            check(lib.bb_program_variable(self.handle, k, c.byref(info)))
            out.append((info.name.decode(), PLACES[info.place], info.dim))
        return out

    @property
    def outputs(self):
        """[(place, dim, is_index)]"""
        out = []
        for k in range(lib.bb_program_output_count(self.handle)):
            info = OutputInfo()
            check(lib.bb_program_output(self.handle, k, c.byref(info)))
            out.append((PLACES[info.place], info.dim, bool(info.is_index)))
        return out

    def kept(self, dense):
        """A dense result (..., rows, dim) as the first output has it: without rows where it depends on none."""
        return dense[..., 0, :] if self.outputs[0][0] == "p" else dense

    @property
    def cost(self):
        return lib.bb_program_cost(self.handle)

    def _derived(self, function, variables, forward):
        names = [v[0] for v in self.variables]
        positions = [names.index(v) if isinstance(v, str) else v for v in variables]
        handle = P()
        check(function(self.handle, (c.c_int * len(positions))(*positions), len(positions),
                       (c.c_int * max(len(forward), 1))(*forward), len(forward), c.byref(handle)))
        return Program(handle)

    def grad(self, variables, forward=()):
        return self._derived(lib.bb_grad, variables, forward)

    def diff(self, variables, forward=()):
        return self._derived(lib.bb_diff, variables, forward)

    def show(self, what, dtype="float32"):
        text = P()
        check(lib.bb_program_show(self.handle, what.encode(), DTYPES[dtype], c.byref(text)))
        try:
            return c.string_at(text).decode()
        finally:
            lib.bb_free(text)

    def target(self, m, n, batches=1, dtype="float32"):
        """(target, why)"""
        chosen, text = c.c_int(), P()
        check(lib.bb_program_target(self.handle, DTYPES[dtype], c.c_int64(m), c.c_int64(n), c.c_int64(batches),
                                    c.byref(chosen), c.byref(text)))
        try:
            return chosen.value, c.string_at(text).decode()
        finally:
            lib.bb_free(text)

    def compile(self, target="auto", policy="auto", scheme="auto", accumulate_double=False):
        return Kernel(self, target, policy, scheme, accumulate_double)

    def __call__(self, *values, target="interp", **options):
        return self.compile(target=target)(*values, **options)


def parse(formula, *declarations, context=None):
    handle = P()
    texts = (c.c_char_p * max(len(declarations), 1))(*(d.encode() for d in declarations))
    text = formula if isinstance(formula, bytes) else formula.encode()
    check(lib.bb_program_parse((context or shared_context()).handle, text, texts, len(declarations), c.byref(handle)))
    return Program(handle)


class Kernel:
    def __init__(self, program, target, policy, scheme, accumulate_double):
        self.program, self.handle = program, P()
        options = CompileOptions(c.sizeof(CompileOptions), TARGETS[DEVICE if DEVICE and target == "interp" else target], POLICIES[policy], SCHEMES[scheme],
                                 int(accumulate_double))
        check(lib.bb_compile(program.handle, c.byref(options), c.byref(self.handle)))

    def __del__(self):
        lib.bb_kernel_release(self.handle)

    def shape(self, inputs, position, options=None):
        shape, ndim = (I64 * 16)(), c.c_int()
        check(lib.bb_output_shape(self.handle, inputs, len(inputs.keep), options, position, shape, 16, c.byref(ndim)))
        return tuple(shape[:ndim.value])

    def __call__(self, *values, dtype=None, out=None, **options):
        """One array, or a tuple where there are several outputs. dtype: of the outputs, else the inputs'."""
        inputs, options = arrays(values), run_options(**options)
        if dtype is None:
            floats = [v.dtype for v in values if not isinstance(v, bfloat16)]
            dtype = np.result_type(np.float16, *floats) if floats else np.float32
        if out is None:
            out = [np.full(self.shape(inputs, k, options), -77 if is_index else np.nan, np.int64 if is_index else dtype)
                   for k, (_, _, is_index) in enumerate(self.program.outputs)]
        outputs = arrays(out)
        check(lib.bb_run(self.handle, inputs, len(values), outputs, len(out), c.byref(options)))
        return out[0] if len(out) == 1 else tuple(out)

    def tier(self, dtype="float32"):
        """(the target, the reason why it is not compiled)"""
        reason = c.c_char_p()
        tier = lib.bb_kernel_tier(self.handle, DTYPES[dtype], c.byref(reason))
        return {number: name for name, number in TARGETS.items()}[tier], (reason.value or b"").decode()

    def wait(self):
        check(lib.bb_kernel_wait(self.handle))

    def solve(self, values, unknown, alpha=0.0, tolerance=0.0, relative=False, max_iterations=0, report=None,
              method="auto", precondition="auto", rank=0, memory=0, seed=0, guess=None, history=0, clusters=None, neighbors=None,
              rank_of=None, neighbor_count=0, **options):
        """(solution, SolveResult with .history); raises Error with .solution on failure to converge."""
        inputs, run = arrays(values), run_options(**options)
        solution = np.zeros_like(values[unknown])
        output = describe(solution)
        result = SolveResult(size=c.sizeof(SolveResult))
        function = REPORT(lambda _, k, r: int(bool(report(k, r)))) if report else REPORT()
        residuals = np.full(max(history, 1), np.nan)
        first = describe(guess) if guess is not None else None
        settings = SolveOptions(c.sizeof(SolveOptions), alpha, tolerance, int(relative), max_iterations, function, None,
                                c.pointer(run), METHODS[method], PRECONDITIONERS[precondition], rank, memory, seed,
                                c.pointer(first) if first else None,
                                residuals.ctypes.data_as(c.POINTER(c.c_double)) if history else None, history,
                                longs(clusters), longs(neighbors), longs(rank_of),
                                neighbors.shape[1] if neighbors is not None else neighbor_count)
        status = lib.bb_solve(self.handle, inputs, len(values), unknown, c.byref(output), c.byref(settings),
                              c.byref(result))
        result.history = residuals[:min(history, result.history_count)]
        result.used = {v: k for k, v in PRECONDITIONERS.items()}[result.precondition]
        if status:
            error = Error(status, lib.bb_last_error().decode())
            error.solution, error.result = solution, result
            raise error
        return solution, result


def evaluate(formula, target="interp", dtype=None, options=None, **values):
    """evaluate("sum_j(x*y)", x=("i", array), y=("j", array)): declares each variable from its array."""
    options = options or {}
    declarations = [f"{name}:{place}{a.shape[-1]}" for name, (place, a) in values.items()]
    return parse(formula, *declarations)(*(a for _, a in values.values()), target=target, dtype=dtype, **options)


def statistics():
    out = Statistics(size=c.sizeof(Statistics))
    check(lib.bb_get_statistics(c.byref(out)))
    return out


def _rows(count, function, info_type):
    out = []
    for k in range(count()):
        info = info_type()
        check(function(k, c.byref(info)))
        row = {name: getattr(info, name) for name, _ in info_type._fields_}
        out.append({key: v.decode() if isinstance(v, bytes) else v for key, v in row.items()})
    return out


def ops():
    """The table of operations, one dictionary per row."""
    return _rows(lib.bb_op_count, lib.bb_op, OpInfo)


def reductions():
    return _rows(lib.bb_reduction_count, lib.bb_reduction, ReductionInfo)


# ---- matrices, for solvers and spectra -------------------------------------------------------------------------------
def doubles(a):
    return a.ctypes.data_as(c.POINTER(c.c_double)) if a is not None else None


def kernel_matrix(kernel, values, unknown, **options):
    inputs, run = arrays(values), run_options(**options)
    out = Matrix(c.sizeof(Matrix), kernel.handle, inputs, len(values), unknown, c.pointer(run))
    out.keep = (kernel, inputs, run)
    out.shape = values[unknown].shape
    return out


def callback_matrix(dense=None, entries=True, single=False, multiply=None):
    """From a dense matrix, by callbacks."""
    n = len(dense)

    def product(_, columns, x, y):
        x, y = (np.ctypeslib.as_array(a, (n, columns)) for a in (x, y))
        y[:] = dense @ x
        return 0

    def columns_of(_, count, wanted, result):
        wanted = np.ctypeslib.as_array(wanted, (count,))
        np.ctypeslib.as_array(result, (count, n))[:] = dense[:, wanted].T
        return 0

    def diagonal(_, result):
        np.ctypeslib.as_array(result, (n,))[:] = np.diag(dense)
        return 0

    out = Matrix(c.sizeof(Matrix), rows=n, single=int(single), multiply=MULTIPLY(multiply or product),
                 entries=ENTRIES(columns_of) if entries else ENTRIES(), diagonal=DIAGONAL(diagonal) if entries else DIAGONAL())
    out.shape = (n, 1)
    return out


def solve_matrix(matrix, b, alpha=0.0, tolerance=0.0, relative=True, method="auto", precondition="auto"):
    solution, result = np.zeros_like(b), SolveResult(size=c.sizeof(SolveResult))
    settings = SolveOptions(c.sizeof(SolveOptions), alpha, tolerance, int(relative), 0, REPORT(), None, None,
                            METHODS[method], PRECONDITIONERS[precondition])
    check(lib.bb_solve_matrix(c.byref(matrix), c.byref(describe(b)), c.byref(describe(solution)), c.byref(settings),
                              c.byref(result)))
    return solution, result


def trace(matrix, function=None, logdet=False, alpha=0.0, tolerance=0.0, probes=0, max_probes=0, steps=0, dense_rows=0,
          precondition="auto", rank=0, memory=0, seed=0, vectors=False, report=None):
    """(values, errors, TraceResult with .left and .right); raises Error with .values."""
    batch = matrix.shape[:-2]
    values, errors = np.full(batch, np.nan), np.full(batch, np.nan)
    result = TraceResult(size=c.sizeof(TraceResult))
    left, right = (np.full((*matrix.shape[:-1], probes or 16), np.nan) if vectors else None for _ in range(2))
    settings = TraceOptions(c.sizeof(TraceOptions), alpha, tolerance, probes, max_probes, steps, dense_rows,
                            FUNCTION(lambda _, x: function(x)) if function else FUNCTION(), None,
                            PRECONDITIONERS[precondition], rank, memory, seed, doubles(left), doubles(right),
                            REPORT(lambda _, k, r: int(bool(report(k, r)))) if report else REPORT(), None)
    status = (lib.bb_logdet if logdet else lib.bb_trace)(c.byref(matrix), c.byref(settings), doubles(values),
                                                         doubles(errors), c.byref(result))
    result.left, result.right = left, right
    if status:
        error = Error(status, lib.bb_last_error().decode())
        error.values, error.errors, error.result = values, errors, result
        raise error
    return values, errors, result


def eigen(matrix, count, which=0, tolerance=0.0, block=0, basis=0, max_products=0, memory=0, seed=0, report=None):
    """(values, vectors, EigenResult)"""
    values, vectors = np.full(count, np.nan), np.full((matrix.shape[-2], count), np.nan)
    result = EigenResult(size=c.sizeof(EigenResult))
    settings = EigenOptions(c.sizeof(EigenOptions), count, which, tolerance, block, basis, max_products, memory, seed,
                            REPORT(lambda _, k, r: int(bool(report(k, r)))) if report else REPORT(), None)
    check(lib.bb_eigen(c.byref(matrix), c.byref(settings), doubles(values), doubles(vectors), c.byref(result)))
    return values, vectors, result
