"""What the package takes from the machine: files and threads at import, memory in long loops, the interpreter's lock."""
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import benben
from benben.numpy import Genred, Vi, Vj

SITE = os.path.dirname(os.path.dirname(os.path.abspath(benben.__file__)))
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def run(code, **environment):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": SITE, **environment})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


IMPORT = """
import os, sys, sysconfig, threading
import numpy
opened, other = [], []
def watch(event, arguments):
    if event == "open":
        opened.append(str(arguments[0]))
    elif event.split(".")[0] in ("subprocess", "socket", "ctypes", "shutil", "tempfile", "signal") or event in (
            "os.posix_spawn", "os.system", "os.fork", "os.exec", "os.mkdir", "os.remove", "os.rename"):
        other.append(event)
descriptors = sorted(os.listdir("/proc/self/fd"))
sys.addaudithook(watch)
import benben, benben.numpy
own = os.path.dirname(benben.__file__)
library = sysconfig.get_path("stdlib")
strange = [p for p in opened if not (p.startswith(own) or p.startswith(library) and p.endswith((".py", ".pyc", ".so")))]
assert not strange, strange
assert any(p.startswith(own) for p in opened)  # the hook sees what it should
assert not other, other
assert sorted(os.listdir("/proc/self/fd")) == descriptors
assert len(os.listdir("/proc/self/task")) == len(tasks)
mapped = {line.split()[-1] for line in open("/proc/self/maps") if "/" in line}
assert not any(name in m for m in mapped for name in ("libcuda", "libnvrtc", "libOpenCL", "torch")), mapped
for name in ("subprocess", "ctypes", "socket", "multiprocessing", "scipy", "torch", "tqdm", "pykeops"):
    assert name in before or name not in sys.modules, name
"""


@LINUX
def test_import_touches_nothing_but_its_modules():
    run(IMPORT.replace("import numpy\n", "import numpy\nbefore = set(sys.modules)\n"
                       "tasks = os.listdir('/proc/self/task')\n", 1))


def test_the_first_result_of_a_new_formula_needs_no_compiler(tmp_path):
    run("""
import numpy as np
import benben, benben.numpy as bn
x, y = np.random.rand(300, 3), np.random.rand(200, 3)
K = (-((bn.Vi(x) - bn.Vj(y)) ** 2).sum(-1).sqrt()).exp() * (bn.Vi(x) | bn.Vj(y)).cos()
d = np.sqrt(((x[:, None] - y) ** 2).sum(-1))
np.testing.assert_allclose(K.sum(axis=1)[:, 0], (np.exp(-d) * np.cos(x @ y.T)).sum(1))
g = bn.Genred("Grad(tanh(x|y), x, e)", ["x = Vi(3)", "y = Vj(3)", "e = Vi(1)"], axis=1)
t = np.tanh(x @ y.T)
np.testing.assert_allclose(g(x, y, np.ones((300, 1))), (1 - t ** 2) @ y)
assert "no C compiler" in benben.doctor(), benben.doctor()
""", PATH=str(tmp_path), BENBEN_CC="", CC="", BENBEN_CACHE_DIR=str(tmp_path / "cache"))


LOOP = """
import gc, os, sys
import numpy as np
import benben
from benben.numpy import Genred, LazyTensor, Vi, Vj, Pm
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
x, y, b = np.random.rand(10, 3), np.random.rand(10, 3), np.random.rand(10, 1)
f = Genred("Exp(-SqDist(x, y)) * b", ["x = Vi(3)", "y = Vj(3)", "b = Vj(1)"], axis=1)
def body():
    BODY
for _ in range(WARM):
    body()
gc.collect()
before, counts = resident(), [sys.getrefcount(a) for a in (x, y, b, f, None)][:4]
for _ in range(COUNT):
    body()
gc.collect()
assert [sys.getrefcount(a) for a in (x, y, b, f, None)][:4] == counts
grown = resident() - before
assert not late, late
assert grown < LIMIT << 20, f"{grown} bytes in COUNT rounds"
"""
# one leaked object of 100 bytes a round would be 10 MB
BODIES = {
    "calls": ("f(x, y, b)", 100000, 3),
    "expressions": ("(-((LazyTensor(x[:, None, :]) - LazyTensor(y[None, :, :])) ** 2).sum(-1) / 0.5).exp() @ b", 100000, 3),
    "reductions": ("d = ((Vi(x) - Vj(y)) ** 2).sum(-1); d.argKmin(3, axis=1); d.min_argmin(axis=0); d.logsumexp(axis=1)",
                   20000, 3),
    "solves": ("(-((Vi(x) - Vj(x)) ** 2).sum(-1)).exp().solve(b, alpha=0.5)", 3000, 3),
    "formulas": ("global n; n = globals().get('n', 0) + 1; ((Vi(x) | Vj(y)) * (n % 6000 + 3)).sum(-1).exp().formula",
                 30000, 30),
    "genreds": ("Genred('Exp(-SqDist(x, y)) * b', ['x = Vi(3)', 'y = Vj(3)', 'b = Vj(1)'], axis=1)(x, y, b)", 20000, 3),
}
REFUSED = ["f(x, y)", "f(x, y, b[:5])", "f(x, y, 'b')", "f(x, y, b + 1j)", "f(x, y, b, ranges=(1, 2))",
           "f(x, y, b, out=np.zeros((3, 1)))", "(Vi(x) | Vj(y[:, :2]))", "(Vi(x) + Vi(x[:5]))",
           "(Vi(x) | Vj(y)).sum(axis=7)", "(Vi(x) | Vj(y)) @ b[:5]", "(Vi(x) | Vj(y)) @ [1]",
           "(Vi(x) | Vj(y)).argKmin(0, axis=1)", "(Vi(x) | Vj(y)).sum(axis=1, progress=lambda part: 1 / 0)",
           "(Vi(x) | Vj(y)).sum(axis=1, progress=lambda part: True)", "Genred('NoSuch(x)', ['x = Vi(3)'])",
           "Genred('SqDist(x,', ['x = Vi(3)'])", "(Vi(x) - Vj(y))[9]", "LazyTensor('a')",
           "(-((Vi(x) - Vj(x)) ** 2).sum(-1)).exp().solve(b[:5])"]
BODIES["exceptions"] = ("""for text in codes:
        try:
            eval(text)
        except (benben.Error, ValueError, TypeError, NameError, ZeroDivisionError):
            continue
        except KeyboardInterrupt:
            raise
        late.add(text)""", 3000, 3)


@LINUX
@pytest.mark.parametrize("name", BODIES)
def test_long_loops_leak_nothing(name):
    body, count, limit = BODIES[name]
    code = LOOP.replace("BODY", body).replace("WARM", str(max(count // 5, 200))).replace("COUNT", str(count))
    code = code.replace("LIMIT", str(limit)).replace("def resident", f"late = set(); codes = [compile(t, t, 'eval') for t in {REFUSED!r}]\ndef resident", 1)
    run(code)


def test_a_run_lets_other_threads_run():
    """One run waits inside its progress function until another one, in another thread, is over: were a lock held while a
    run is under way, the second could not begin."""
    x = np.random.default_rng(0).random((20000, 3))
    K, small = (Vi(x) | Vj(x)).exp(), Genred("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], axis=1)
    begun, over, waited = threading.Event(), threading.Event(), []

    def second():
        begun.wait(60)
        for _ in range(50):
            small(x[:500], x[:400])
        over.set()

    def progress(part):
        begun.set()
        waited.append(over.wait(60))

    thread = threading.Thread(target=second)
    thread.start()
    K.sum(axis=1, progress=progress)
    thread.join()
    assert waited and all(waited)


def test_python_goes_on_during_a_run():
    """Python code makes progress in another thread while a run without any call back is under way."""
    x = np.random.default_rng(0).random((30000, 3))
    K, steps, stop = (Vi(x) | Vj(x)).exp(), [], threading.Event()

    def count():
        while not stop.is_set():
            steps.append(1)
            stop.wait(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    inside = []
    for _ in range(20):  # at least one run is long enough on any machine
        before = len(steps)
        K.sum(axis=1)
        inside.append(len(steps) - before)
        if max(inside) >= 3:
            break
    stop.set()
    thread.join()
    assert max(inside) >= 3, inside
