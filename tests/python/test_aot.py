"""Kernels compiled ahead: inside the library, and made by `benben aot`. None of these tests finds a compiler, but those
that say so, and each has an empty cache: what is compiled was compiled before."""
import ctypes
import itertools
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

import bb

LIST = bb.ROOT / "src" / "run" / "builtin.list"
OUTSIDE = "sum_j(exp(-sqdist(x:i3, y:j3)) * sin(sqdist(x, y) * 3 + 1))"


def doctor():
    return subprocess.run([str(bb.COMMAND), "doctor"], capture_output=True, text=True, check=True).stdout


BUILTIN = int(re.search(r"builtin +(\d+) kernels", doctor()).group(1))
LEVEL = ["baseline", "AVX2", "AVX-512"].index(re.search(r"vector level (baseline|AVX2|AVX-512)", doctor()).group(1))
needs_builtin = pytest.mark.skipif(not BUILTIN, reason="this library was built without kernels (BENBEN_BUILTIN)")
needs_compiler = pytest.mark.skipif("missing" in doctor(), reason="no compiler")


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    monkeypatch.setenv("BENBEN_CC", "/nonexistent")
    monkeypatch.setenv("BENBEN_CACHE_DIR", str(tmp_path / "cache"))


def lines():
    """(least level, formula, gradients, whether for few rows) of every formula of the list."""
    for line in LIST.read_text().splitlines():
        words, formula, options = line.split("#")[0].split(" "), "", {"of": [], "min": "0", "D": "1", "E": "1"}
        few = False
        while words and (re.match(r"(D|E|of|min)=", words[0]) or words[0] == "few"):
            name, _, value = words.pop(0).partition("=")
            few |= name == "few"
            if name == "of":
                options["of"].append(value.split(","))
            else:
                options[name] = value
        formula = " ".join(words).strip()
        for d, e in itertools.product(options["D"].split(","), options["E"].split(",")) if formula else ():
            text = re.sub("(:[ijp])E", rf"\g<1>{e}", re.sub("(:[ijp])D", rf"\g<1>{d}", formula))
            yield int(options["min"]), text, options["of"], few


def inputs(program, m, n, dtype):
    rng = np.random.default_rng(3)
    rows = {"i": [m], "j": [n], "p": []}
    return [rng.uniform(0.1, 1, rows[place] + [dim]).astype(dtype) for _, place, dim in program.variables]


def check(program, m, n, dtype):
    values = inputs(program, m, n, dtype)
    kernel = program.compile(target="cpu", policy="wait")
    found, expected = kernel(*values), program.compile(target="interp")(*values)
    assert kernel.tier(np.dtype(dtype).name)[0] == "cpu"
    found, expected = (v if isinstance(v, tuple) else (v,) for v in (found, expected))
    for a, b in zip(found, expected, strict=True):
        assert a.tobytes() == b.tobytes()


@needs_builtin
@pytest.mark.parametrize("level", range(LEVEL + 1))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_formula_of_the_list_runs_without_a_compiler_and_gives_the_same_bits(level, dtype, monkeypatch):
    monkeypatch.setenv("BENBEN_ISA", str(level))
    before, count = bb.statistics(), 0
    for least, formula, gradients, few in lines():
        if level < least:
            continue
        program = bb.parse(formula, context=bb.Context())
        long = any(dim > 8 for _, _, dim in program.variables)
        check(program, *((640, 650) if long else (200, 150)), dtype)
        if few:
            check(program, 2, 3000, dtype)
        for wanted in gradients:
            check(program.grad(wanted), 200, 150, dtype)
        count += 1
    after = bb.statistics()
    assert count > 20 and after.compiles == before.compiles and after.disk_hits == before.disk_hits
    assert after.ahead_hits - before.ahead_hits > count


@needs_builtin
def test_a_formula_outside_the_library_needs_a_compiler():
    program = bb.parse(OUTSIDE)
    values = inputs(program, 200, 150, np.float32)
    with pytest.raises(bb.Error, match="BENBEN_CC"):
        program.compile(target="cpu")(*values)
    kernel = program.compile(policy="wait")
    kernel(*values)
    assert kernel.tier()[0] == "interp"


@needs_builtin
def test_nobody_waits_for_a_kernel_of_the_library(monkeypatch):
    program = bb.parse("sum_j(exp(-sqdist(x:i3, y:j3) / s:p1) * b:j1)")
    values = inputs(program, 2000, 2000, np.float32)
    kernel = program.compile()
    kernel(*values)
    assert kernel.tier()[0] == "cpu"
    small = program.compile()
    small(*inputs(program, 10, 10, np.float32))
    assert small.tier()[0] == "interp"
    monkeypatch.setenv("BENBEN_BUILTIN", "0")
    kernel = program.compile()
    kernel(*values)
    assert kernel.tier()[0] == "interp"


@needs_builtin
def test_spellings_of_one_kernel():
    for formula in ("Sum_Reduction(Exp(-Pm(0,1)*SqDist(Vi(1,3),Vj(2,3)))*Vj(3,1),0)",
                    "sum_j(exp(-sqdist(x:i3, y:j3)) * b:j1)", "sum_j(exp(-0.7 * sqdist(x:i2, y:j2)) * b:j1)",
                    "sum_j(b:j1 * exp(-sum((y:j3 - x:i3)**2) / (2 * s:p1 * s)))",
                    "logsumexp_j(-sqdist(x:i2, y:j2))", "logsumexp_j(-sqdist(x:i2, y:j2) / 2 / s:p1)",
                    "logsumexp_j(-s:p1 * sqdist(x:i2, y:j2))", "logsumexp_j(h:j1 - sqdist(x:i2, y:j2) / 2)"):
        check(bb.parse(formula, context=bb.Context()), 200, 150, np.float32)


@needs_builtin
def test_the_kernels_of_the_library_are_small():
    objects = list(bb.BUILD.glob("CMakeFiles/benben_builtin_*/**/*.o"))
    assert len(objects) in (2, 4, 6)
    sizes = subprocess.run(["size", *map(str, objects)], capture_output=True, text=True, check=True).stdout.splitlines()[1:]
    assert sum(int(line.split()[0]) + int(line.split()[1]) for line in sizes) < 4e6  # code and data, without symbols
    assert f"{BUILTIN} kernels in the library" in doctor()


def test_show_says_what_is_compiled_ahead():
    show = [str(bb.COMMAND), "show", "-s", "source", OUTSIDE]
    assert "compiled ahead" not in subprocess.run(show, capture_output=True, text=True, check=True).stdout
    show[-1] = "sum_j(exp(-sqdist(x:i3, y:j3)) * b:j1)"
    done = subprocess.run(show, capture_output=True, text=True, check=True).stdout
    assert ("compiled ahead" in done) == bool(BUILTIN)


# ---- benben aot

PROGRAM = """
import sys, numpy as np, bb
x, y = np.linspace(0, 1, 900).reshape(300, 3), np.linspace(0, 2, 1200).reshape(400, 3)
formula = bb.parse(sys.argv[1])
for dtype in (np.float32, np.float64):
    for program in (formula, formula.grad(["y"])):
        values = [x.astype(dtype), y.astype(dtype)] + [np.ones((300, 1), dtype)] * (len(program.variables) - 2)
        kernel = program.compile(policy="wait")
        same = kernel(*values).tobytes() == program.compile(target="interp")(*values).tobytes()
        print(*kernel.tier(np.dtype(dtype).name)[:1], same)
"""


def use(**environment):
    done = subprocess.run([sys.executable, "-c", PROGRAM, OUTSIDE], cwd=pathlib.Path(__file__).parent, text=True,
                          env=dict(os.environ, BENBEN_BUILTIN="0", **environment), capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


def aot(*arguments, **environment):
    """With the compiler."""
    env = {k: v for k, v in os.environ.items() if k != "BENBEN_CC"} | environment
    return subprocess.run([str(bb.COMMAND), "aot", *map(str, arguments)], env=env, capture_output=True, text=True)


@needs_compiler
@pytest.mark.parametrize("level", range(LEVEL + 1))
def test_a_shared_object_round_trip(tmp_path, level):
    isa = {"BENBEN_ISA": str(level)}
    assert use(**isa) == ["interp True"] * 4
    done = aot(OUTSIDE, "--of", "y", "--level", level, "-o", tmp_path / "kernels.so")
    assert done.returncode == 0 and "8 kernels" in done.stdout, done.stderr
    assert use(BENBEN_AOT=str(tmp_path / "kernels.so"), **isa) == ["cpu True"] * 4
    assert use(BENBEN_AOT=f"/nowhere.so:{tmp_path / 'kernels.so'}", **isa) == ["cpu True"] * 4
    if LEVEL > 0:
        other = str((level + 1) % (LEVEL + 1))
        assert use(BENBEN_AOT=str(tmp_path / "kernels.so"), BENBEN_ISA=other) == ["interp True"] * 4


@needs_compiler
def test_c_text_is_built_into_a_program(tmp_path):
    done = aot(OUTSIDE, "--dtype", "float64", "--name", "my_kernels", "-o", tmp_path / "kernels.c")
    assert done.returncode == 0, done.stderr
    flags = re.search(r"Compile with (.*?);", (tmp_path / "kernels.c").read_text()).group(1).split()
    stamp = (tmp_path / "kernels.c").stat().st_mtime_ns
    assert aot(OUTSIDE, "--dtype", "float64", "--name", "my_kernels", "-o", tmp_path / "kernels.c").returncode == 0
    assert (tmp_path / "kernels.c").stat().st_mtime_ns == stamp
    (tmp_path / "main.c").write_text(
        "#include <benben.h>\n#include <stdio.h>\nextern const bb_aot_table my_kernels;\n"
        "int main(void) {\n    bb_context *c;\n    bb_program *p;\n    bb_kernel *k;\n"
        "    static double x[300 * 3], y[400 * 3], out[300];\n"
        "    int64_t xs[2] = {300, 3}, ys[2] = {400, 3}, os[2] = {300, 1};\n"
        "    bb_compile_options o = {.size = sizeof o, .target = BB_TARGET_CPU};\n"
        "    if (bb_aot_use(&my_kernels) || bb_context_new(&c)) return 1;\n"
        f"    if (bb_program_parse(c, \"{OUTSIDE}\", NULL, 0, &p) || bb_compile(p, &o, &k)) return 2;\n"
        "    bb_array in[2] = {bb_array_of(x, BB_FLOAT64, 2, xs), bb_array_of(y, BB_FLOAT64, 2, ys)};\n"
        "    bb_array result = bb_array_of(out, BB_FLOAT64, 2, os);\n"
        "    if (bb_run(k, in, 2, &result, 1, NULL)) return puts(bb_last_error()), 3;\n"
        "    printf(\"%.3f\\n\", out[7]);\n    return 0;\n}\n")
    subprocess.run(["cc", *flags, "-c", "kernels.c"], cwd=tmp_path, check=True)
    subprocess.run(["cc", "main.c", "kernels.o", f"-I{bb.ROOT / 'include'}", f"-L{bb.BUILD}", "-lbenben",
                    f"-Wl,-rpath,{bb.BUILD}", "-o", "main"], cwd=tmp_path, check=True)
    done = subprocess.run([tmp_path / "main"], env=dict(os.environ, BENBEN_BUILTIN="0"), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert abs(float(done.stdout) - 400 * np.sin(1)) < 1e-2


def test_what_is_no_collection_is_refused(tmp_path):
    bb.lib.bb_aot_load.argtypes = [ctypes.c_char_p]
    (tmp_path / "text.so").write_text("no object")
    for path, words in ((tmp_path / "text.so", "cannot be loaded"), (tmp_path / "none.so", "cannot be loaded"),
                        (bb.LIBRARY, "holds no kernels")):
        assert bb.lib.bb_aot_load(str(path).encode()) != 0
        assert words in bb.lib.bb_last_error().decode()
    assert bb.lib.bb_aot_load(None) != 0

    class Table(ctypes.Structure):
        _fields_ = [("abi", ctypes.c_uint32), ("count", ctypes.c_uint32), ("kernel", ctypes.c_void_p)]
    bb.lib.bb_aot_use.argtypes = [ctypes.c_void_p]
    assert bb.lib.bb_aot_use(None) != 0
    assert bb.lib.bb_aot_use(ctypes.byref(Table(99, 0, None))) != 0
    assert "another version" in bb.lib.bb_last_error().decode()


@pytest.mark.parametrize("arguments, words", [
    ((), "needs a formula"), (("sum_j(x:i3 * y:j3)",), "-o FILE"), (("sum_j(x:i3 * y:j3", "-o", "a.so"), "("),
    (("sum_j(x:i3 * y:j3)", "--of", "z", "-o", "a.so"), "no such variable"),
    (("--list", "/nowhere", "-o", "a.so"), "/nowhere"),
    (("sum_j(x:i3 * y:j3)", "--dtype", "float16", "-o", "a.so"), "float32"),
    (("sum_j(x:i3 * y:j3)", "--name", "1", "-o", "a.c"), "name"),
    (("sum_j(x:i3 * y:j3)", "-o", "/nowhere/a.c"), "cannot be written")])
def test_wrong_commands_are_told(arguments, words, tmp_path):
    done = subprocess.run([str(bb.COMMAND), "aot", *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0 and words in done.stderr, done.stderr
