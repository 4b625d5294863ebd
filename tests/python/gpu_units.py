"""Texts of GPU kernels for compilers without a device: which ones, many in a unit, and what NVRTC, nvdisasm and clang say
of them. test_cuda.py and test_hip.py use it."""
import concurrent.futures
import ctypes as c
import functools
import glob
import itertools
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile

import bb
import test_gpu
import test_operations
import test_reductions

SITE = next(iter(glob.glob(os.path.join(sys.prefix, "lib", "python3*", "site-packages", "nvidia", "cu[0-9]*"))), None)
NVRTC = next(iter(glob.glob(f"{SITE}/lib/libnvrtc.so.*")), None)
NVDISASM = pathlib.Path(SITE or "", "bin", "nvdisasm")
MARK = "/* ==== kernel ==== */\n"
SYMBOL = "benben_pairs"
WIDE = r"\b(D(ADD|MUL|FMA|SETP|MNMX)|F2F\.F64|MUFU\.\w*64\w*)\b"  # instructions on float64


def kernels(formula, *declarations, dtype="float32", target="cuda"):
    """The text of each stage that runs on a device; target may name a variant: 'cuda few kahan'."""
    return kernels_of(bb.parse(formula, *declarations), dtype, target)


def kernels_of(program, dtype="float32", target="cuda"):
    text = program.show(target, dtype)
    return [part for part in re.split(r"/\* ==== stage \d+[^\n]*\n", text) if SYMBOL in part]


def most_registers(text):
    """What a thread may have so that as many blocks as the text says fit on a multiprocessor."""
    return {"4": 128, "3": 168}[re.search(r"#define BB_BLOCKS (\d)", text)[1]]


def unit(sources, names):
    """One text of many: their prelude, which is the same, once; what each defines ends with it."""
    heads = {source[:source.index(MARK)] for source in sources}
    assert len(heads) == 1, "kernels of different preludes"
    parts = [heads.pop()]
    for source, name in zip(sources, names, strict=True):
        body = source[source.index(MARK) + len(MARK):].replace(SYMBOL, name)
        parts.append(f"namespace in_{name} {{\n{body}}}\n")
        parts += [f"#undef {macro}\n" for macro in sorted(set(re.findall(r"#define (\w+)", body)))]
    return "".join(parts)


class Compiled:
    """A text compiled by NVRTC; what ptxas says of each kernel in it: registers, stack, spills, shared memory."""

    def __init__(self, source, arch):
        for builtins in glob.glob(f"{SITE}/lib/libnvrtc-builtins.so.*"):  # as src/run/device/nvrtc.c does
            c.CDLL(builtins)
        lib, program = c.CDLL(NVRTC), c.c_void_p()
        assert lib.nvrtcCreateProgram(c.byref(program), source.encode(), b"kernel.cu", 0, None, None) == 0
        options = [f"--gpu-architecture=sm_{arch}", "--fmad=false", "--std=c++17", "--ptxas-options=-v"]
        code = lib.nvrtcCompileProgram(program, len(options), (c.c_char_p * len(options))(*(o.encode() for o in options)))
        self.log = self._text(lib, program, "ProgramLog").decode()
        assert code == 0, self.log
        self.cubin = self._text(lib, program, "CUBIN")
        lib.nvrtcDestroyProgram(c.byref(program))
        self.kernel = {}
        for name, said in re.findall(r"Compiling entry function '(\w+)'(.*?)(?=Compiling entry|\Z)", self.log, re.S):
            number = {key: [int(n) for n in re.findall(pattern, said)] for key, pattern in (
                ("registers", r"Used (\d+) registers"), ("spills", r"(\d+) bytes spill"), ("stack", r"(\d+) bytes stack frame"),
                ("shared", r"(\d+) bytes smem"))}
            self.kernel[name] = {key: max(found, default=0) for key, found in number.items()}

    @staticmethod
    def _text(lib, program, what):
        size = c.c_size_t()
        assert getattr(lib, f"nvrtcGet{what}Size")(program, c.byref(size)) == 0
        buffer = c.create_string_buffer(size.value)
        assert getattr(lib, f"nvrtcGet{what}")(program, buffer) == 0
        return buffer.raw if what == "CUBIN" else buffer.value

    def __getattr__(self, key):  # the worst of all kernels
        if key in ("registers", "spills", "stack", "shared"):
            return max(facts[key] for facts in self.kernel.values())
        raise AttributeError(key)

    @functools.cached_property
    def sections(self):
        """{kernel: its disassembly}; one call for all of a text, as half a second of it is the start of the program"""
        with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
            file.write(self.cubin)
            file.flush()
            listing = subprocess.run([NVDISASM, "-c", file.name], capture_output=True, text=True, check=True).stdout
        parts = re.split(r"^\s*\.section\s+", listing, flags=re.M)
        found = {head[1]: part for part in parts if (head := re.match(r"\.text\.(\w+)", part))}
        assert set(found) == set(self.kernel), (set(found), set(self.kernel))
        return found

    def instructions(self, kernel):
        """[(opcode, operands)] and labels, in order"""
        out = []
        for line in self.sections[kernel].splitlines():
            label, step = re.match(r"^(\.L\w+):", line), re.match(r"\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?\w+\s+)?(\S+)(.*);", line)
            if label:
                out.append((label[1], None))
            if step:
                out.append((step[1], step[2]))
        return out

    def wide(self):
        """{kernel: instructions on float64 that it has}"""
        found = {kernel: {op for op, _ in re.findall(WIDE, section)} for kernel, section in self.sections.items()}
        return {kernel: sorted(names) for kernel, names in found.items() if names}


def together(texts, arch):
    """Kernels compiled as one text: what was compiled, and the symbol of each."""
    symbols = [f"k{k}" for k in range(len(texts))]
    return Compiled(unit(texts, symbols), arch), symbols


# ---- which kernels: every pair of an operation, a reduction, a schedule, a type, an axis and an architecture ----
ARCHITECTURES = (80, 90, 100)
FACTORS = {"dtype": ("float32", "float64"), "arch": ARCHITECTURES, "axis": ("j", "i", "ij"), "rows": ("", " few"),
           "scheme": ("", " kahan", " direct"), "wide": ("", " wide"), "exact": ("", " exact")}
PRIMES = [name for name in test_reductions.NAMES if name not in test_reductions.COMPOSITE]  # others are made of these
UNIT = 24  # kernels in a text
TOGETHER_AT_MOST = 2  # operations in a kernel


def case_of(name, choice):
    """The operation's case of the most components where the thread has many rows, else of the fewest."""
    cases = test_operations.CASES[name]
    return (min if choice["rows"] else max)(cases, key=lambda case: sum(case.dims))


def of_reduction(name, axis, value):
    scalar = f"sum({value})" if name in test_reductions.SCALAR else value
    extra = ", 3" if name in ("kmin", "argkmin") else ", w" if name in test_reductions.WEIGHTED else ""
    return f"{name}_{axis}({scalar}{extra})"


TOGETHER = (("sum", "min", "logsumexp"), ("prod", "argmin", "logsumexpweight"), ("max", "argmax"), ("kmin",))


def groups():
    """What stands in one kernel: reductions that are compiled, and with them those whose texts are the same."""
    same = {}
    for name in PRIMES:
        text = "".join(kernels(of_reduction(name, "j", "x * y"), "x:i1", "y:j1", "w:j1"))
        same.setdefault(text, []).append(name)
    return [tuple(sum((names for names in same.values() if set(names) & set(kind)), [])) for kind in TOGETHER]


def pairs_of(choice):
    """The pairs of levels that a kernel covers; each of its operations and reductions stands for itself."""
    flat = [[(key, level)] for key, level in choice.items() if key not in ("operations", "reductions")]
    flat += [[("operation", name) for name in choice["operations"]], [("reduction", name) for name in choice["reductions"]]]
    for one, two in itertools.combinations(flat, 2):
        yield from map(frozenset, itertools.product(one, two))


def folds_one_axis(reductions):
    return bool(set(reductions) & set(test_reductions.ONE_AXIS))


def some_choice(rng, fixed):
    choice = {**{key: rng.choice(levels) for key, levels in FACTORS.items()},
              "axis": rng.choices(FACTORS["axis"], (4, 4, 1))[0], **fixed}
    if folds_one_axis(choice["reductions"]) and choice["axis"] == "ij":
        choice["axis"] = rng.choice("ij")
    return choice


def some_square(rng, operations, kinds, alone):
    """Kernels in which each of the operations meets each kind of reductions, and each level of every factor: all of them
    together, of few rows, once for each kind but `alone`; with that one each by itself, of many rows."""
    shared = [kind for kind in kinds if kind is not alone]
    shuffled = {key: rng.sample(levels, len(levels)) for key, levels in FACTORS.items()}
    if folds_one_axis(shared[shuffled["axis"].index("ij")]):
        shared.reverse()
        if folds_one_axis(shared[shuffled["axis"].index("ij")]):  # in the middle
            shared = shared[1:] + shared[:1]
    square = [{"operations": operations, "reductions": kind,
               **{key: levels[k % len(levels)] for key, levels in shuffled.items()}, "rows": " few"}
              for k, kind in enumerate(shared)]
    return square + [some_choice(rng, {"operations": (name,), "reductions": alone, "rows": ""}) for name in operations]


def alike(names):
    """The operations in sets of at most TOGETHER_AT_MOST whose values have as many components: they can be added. What
    stands together in the table, as inverses of trigonometric functions, which need most registers, is spread."""
    sets = {}
    for name in names:
        dim = bb.parse(*formula_of({"operations": (name,), "reductions": ("sum",), "rows": " few", "axis": "j"})).outputs[0][1]
        sets.setdefault(dim, []).append(name)
    return [tuple(found[k::count]) for found in sets.values() for count in [-(-len(found) // TOGETHER_AT_MOST)] for k in range(count)]


def covering(names, seed=0):
    """Choices of levels such that all pairs of them are met: a square for each set of operations, then what is left;
    greedy, the best of some random ones."""
    rng, covered, chosen, kinds = random.Random(seed), set(), [], groups()

    def choose(tried):
        best = max(tried, key=lambda choices: len(set().union(*map(pairs_of, choices)) - covered))
        chosen.extend(best)
        covered.update(*map(pairs_of, best))

    for number, operations in enumerate(alike(names)):
        choose([some_square(rng, operations, kinds, kinds[number % len(kinds)]) for _ in range(24)])
    for pair in sorted(set(wanted(names)) - covered, key=lambda pair: sorted(map(str, pair))):
        if pair in covered:
            continue
        fixed = {"operations": (rng.choice(names),), "reductions": kinds[0], **dict(pair)}
        if name := fixed.pop("operation", None):
            fixed["operations"] = (name,)
        if name := fixed.pop("reduction", None):
            fixed["reductions"] = next(kind for kind in kinds if name in kind)
        choose([[some_choice(rng, fixed)] for _ in range(24)])
    return chosen, covered


def wanted(names):
    """All pairs of levels but (ij, what is folded along one axis only)."""
    levels = {"operation": names, "reduction": PRIMES, **FACTORS}
    for (key, some), (other, more) in itertools.combinations(levels.items(), 2):
        for one, two in itertools.product(some, more):
            if not ({one, two} & set(test_reductions.ONE_AXIS) and "ij" in (one, two)):
                yield frozenset([(key, one), (other, two)])


def formula_of(choice):
    """The reductions of the sum of the operations, and the declarations."""
    parts = [test_gpu.operands(case_of(name, choice), k) for k, name in enumerate(choice["operations"])]
    value = " + ".join(f"({text})" for text, _ in parts)
    compiled = [name for name in choice["reductions"] if name in sum(TOGETHER, ())]
    formula = "; ".join(of_reduction(name, choice["axis"], value) for name in compiled)
    return formula, *sum((declared for _, declared in parts), []), "w:j1", "z:j1", "u:i1"


def texts_of(choice):
    """The kernels of a choice, one for each stage."""
    target = "cuda" + "".join(choice[key] for key in ("rows", "scheme", "wide", "exact"))
    return kernels(*formula_of(choice), dtype=choice["dtype"], target=target)


def units(chosen):
    """[(architecture, [(text, choice)])]: texts of one prelude and one architecture."""
    found = {}
    for choice in chosen:
        for text in texts_of(choice):
            found.setdefault((choice["arch"], text[:text.index(MARK)]), []).append((text, choice))
    return [(arch, texts[k:k + UNIT]) for (arch, _), texts in found.items() for k in range(0, len(texts), UNIT)]


def in_parallel(work, items):
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        return list(pool.map(work, items))
