"""The command line: what users type, what they get, and what they are told when it is wrong."""
import json
import os
import signal
import subprocess
import time

import numpy as np
import pytest

import bb

GAUSS = "sum_j(exp(-sqdist(x, y) / s) * b)"


def benben(*arguments, cwd=None, **environment):
    return subprocess.run([str(bb.COMMAND), *map(str, arguments)], capture_output=True, text=True, cwd=cwd, timeout=120,
                          env=dict(os.environ, **environment))


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"x": rng.uniform(0, 1, (40, 3)), "y": rng.uniform(0, 1, (50, 3)), "b": rng.uniform(0, 1, (50, 2))}
    for name, a in arrays.items():
        np.save(tmp_path / f"{name}.npy", a)
        np.save(tmp_path / f"{name}32.npy", a.astype(np.float32))
    arrays["folder"] = tmp_path
    return arrays


def dense(files, s=0.5):
    return np.exp(-((files["x"][:, None] - files["y"][None]) ** 2).sum(-1) / s) @ files["b"]


def test_a_result_goes_to_a_file(files):
    done = benben("run", GAUSS, "x=x.npy:i", "y=y.npy:j", "b=b.npy:j", "s=0.5", "-o", "out.npy", cwd=files["folder"])
    assert done.returncode == 0, done.stderr
    assert not done.stdout and not done.stderr
    np.testing.assert_allclose(np.load(files["folder"] / "out.npy"), dense(files), rtol=1e-12)


def test_a_small_result_is_printed(files):
    done = benben("run", "sum_ij(x * y)", "x=x.npy:i", "y=y.npy:j", cwd=files["folder"])
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(json.loads(done.stdout), files["x"].sum(0) * files["y"].sum(0), rtol=1e-12)


def test_variables_may_be_written_in_place(files):
    done = benben("run", "sum_j(exp(-sqdist(x:i3, y:j3) / s:p1) * b:j2)", "x=x.npy", "y=y.npy", "b=b.npy", "s=0.5",
                  "-o", "out.npy", cwd=files["folder"])
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(files["folder"] / "out.npy"), dense(files), rtol=1e-12)


def test_several_outputs(files):
    done = benben("run", "min_argmin_j(sqdist(x, y))", "x=x.npy:i", "y=y.npy:j", "-o", "v.npy", "-o", "k.npy",
                  cwd=files["folder"])
    assert done.returncode == 0, done.stderr
    k = np.load(files["folder"] / "k.npy")
    q = ((files["x"][:, None] - files["y"][None]) ** 2).sum(-1)
    assert k.dtype == np.int64
    np.testing.assert_array_equal(k[:, 0], q.argmin(1))


@pytest.mark.parametrize("dtype, stored, tolerance", [("float16", "float16", 2e-2), ("bfloat16", "float32", 5e-2),
                                                      ("float32", "float32", 1e-5), ("float64", "float64", 1e-12)])
def test_dtype_converts(files, dtype, stored, tolerance):
    done = benben("run", GAUSS, "x=x.npy:i", "y=y32.npy:j", "b=b.npy:j", "s=0.5", "--dtype", dtype, "-o", "out.npy",
                  cwd=files["folder"])
    assert done.returncode == 0, done.stderr
    out = np.load(files["folder"] / "out.npy")
    assert out.dtype == stored
    np.testing.assert_allclose(out, dense(files), rtol=max(tolerance, 3e-7))


def test_integers_are_promoted_with_a_message(files):
    np.save(files["folder"] / "n.npy", np.arange(50, dtype=np.int32))
    done = benben("run", "sum_j(x * n)", "x=x.npy:i", "n=n.npy:j", "-o", "out.npy", cwd=files["folder"])
    assert done.returncode == 0 and "n" in done.stderr and "float64" in done.stderr
    np.testing.assert_allclose(np.load(files["folder"] / "out.npy"), files["x"] * 1225, rtol=1e-12)


@pytest.mark.parametrize("kind", ["fortran", "big-endian", "version 2", "version 3"])
def test_kinds_of_npy_files(files, kind):
    x = files["x"]
    with open(files["folder"] / "x.npy", "wb") as file:
        if kind.startswith("version"):
            np.lib.format.write_array(file, x, version=(int(kind[-1]), 0))
        else:
            np.save(file, np.asfortranarray(x) if kind == "fortran" else x.astype(">f8"))
    done = benben("run", GAUSS, "x=x.npy:i", "y=y.npy:j", "b=b.npy:j", "s=0.5", "-o", "out.npy", cwd=files["folder"])
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(files["folder"] / "out.npy"), dense(files), rtol=1e-12)


def test_time_and_target_and_threads(files):
    for target, word in (("interp", "interpreted"), ("cpu", "compiled")):
        done = benben("run", GAUSS, "x=x.npy:i", "y=y.npy:j", "b=b.npy:j", "s=0.5", "-o", "out.npy", "--time",
                      "--target", target, "--threads", 2, cwd=files["folder"])
        assert done.returncode == 0 and "pairs/s" in done.stderr and word in done.stderr
        np.testing.assert_allclose(np.load(files["folder"] / "out.npy"), dense(files), rtol=1e-12)


@pytest.mark.parametrize("arguments, words", [
    ((), ["usage"]),
    (("frobnicate",), ["frobnicate"]),
    (("run",), ["formula"]),
    (("run", GAUSS, "x=x.npy:i", "y=y.npy:j", "b=b.npy:j"), ["'s'"]),
    (("run", GAUSS, "x=missing.npy:i"), ["missing.npy"]),
    (("run", GAUSS, "x"), ["'x'", "NAME"]),
    (("run", GAUSS, "x=x.npy:i", "x=x.npy:i"), ["x", "twice"]),
    (("run", "sum_j(exp(-sqdist(x, z)))", "x=x.npy:i", "y=y.npy:j"), ["^", "z"]),
    (("run", "sum_j(x * y)", "x=x.npy:i", "y=y32.npy:j"), ["float32", "float64", "--dtype"]),
    (("run", "sum_j(x * y)", "x=x.npy:i", "y=y.npy:j", "--dtype", "int8"), ["int8", "bfloat16"]),
    (("run", "sum_j(x * y)", "x=x.npy:i", "y=y.npy:j", "--threads", "many"), ["many"]),
    (("run", "sum_j(x * y)", "x=x.npy:i", "y=y.npy:j", "--target", "abacus"), ["abacus", "interp"]),
    (("run", "sum_j(x * y)", "x=x.npy:i", "y=y.npy:j", "-o", "a.npy", "-o", "b2.npy"), ["output"]),
    (("run", "sum_j(x * y)", "x=x.npy:i", "y=y.npy:j", "-o", "no/such/folder.npy"), ["no/such/folder.npy"]),
    (("run", "sum_j(x * y)", "x=text.npy:i", "y=y.npy:j"), ["text.npy", ".npy file"]),
    (("run", "sum_j(x * y)", "x=short.npy:i", "y=y.npy:j"), ["short.npy", "truncated"]),
    (("run", "sum_j(x * y)", "--frobnicate"), ["frobnicate"]),
    (("show",), ["formula"]),
    (("show", "sum_j(x:i3 * y:j3)", "--stage", "baked"), ["baked", "plan"]),
    (("bench", "gauss"), ["gauss"]),
    (("cache", "now"), ["now"]),
])
def test_bad_input_is_answered_with_one_clear_message(files, arguments, words):
    (files["folder"] / "text.npy").write_text("hello, this is no array")
    (files["folder"] / "short.npy").write_bytes((files["folder"] / "x.npy").read_bytes()[:-9])
    done = benben(*arguments, cwd=files["folder"])
    assert done.returncode not in (0, None) and done.returncode > 0
    assert not done.stdout
    for word in words:
        assert word in done.stderr, done.stderr
    assert done.stderr.count("benben:") <= 1 or "--frobnicate" in arguments
    assert not (files["folder"] / "a.npy").exists()


def test_the_table_as_json_and_markdown():
    table = json.loads(benben("ops", "--json").stdout)
    assert [o["name"] for o in table["operations"]] == [o["name"] for o in bb.ops()]
    assert [r["name"] for r in table["reductions"]] == [r["name"] for r in bb.reductions()]
    markdown = benben("ops", "--markdown").stdout
    for o in table["operations"]:
        assert f"| `{o['name']}` |" in markdown
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in rows}) == 1


def test_show_prints_every_stage():
    done = benben("show", GAUSS, "x:i3", "y:j3", "s:p1", "b:j2")
    assert done.returncode == 0, done.stderr
    for title in ("parsed", "simplified", "gradient", "plan"):
        assert f"---- {title}\n" in done.stdout
    source = benben("show", GAUSS, "x:i3", "y:j3", "s:p1", "b:j2", "-s", "source", "--of", "x").stdout
    assert "benben_kernel" in source


def test_doctor_and_cache(tmp_path):
    done = benben("doctor")
    assert done.returncode == 0 and "compiler" in done.stdout.lower()
    folder = str(tmp_path / "cache")
    np.save(tmp_path / "x.npy", np.ones((5, 3)))
    assert benben("run", "sum_j(x * y)", "x=x.npy:i", "y=x.npy:j", "--target", "cpu", cwd=tmp_path,
                  BENBEN_CACHE_DIR=folder).returncode == 0
    done = benben("cache", BENBEN_CACHE_DIR=folder)
    assert folder in done.stdout and " 0 kernels" not in done.stdout
    assert " 0 kernels" in benben("cache", "--clear", BENBEN_CACHE_DIR=folder).stdout


def test_version_and_help():
    assert benben("--version").stdout.startswith("benben 0.")
    for arguments in (("--help",), ("run", "--help"), ("show", "--help"), ("bench", "--help"), ("ops", "--help"),
                      ("cache", "--help"), ("doctor", "--help"), ("aot", "--help")):
        done = benben(*arguments)
        assert done.returncode == 0 and "usage:" in done.stdout


def test_interrupting_a_long_run(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((300000, 3), np.float32))
    process = subprocess.Popen([str(bb.COMMAND), "run", "sum_j(exp(-sqdist(x, y)))", "x=x.npy:i", "y=x.npy:j", "-o",
                                "out.npy"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130 and "cancelled" in err
    assert not (tmp_path / "out.npy").exists()


@pytest.mark.full
def test_a_long_run_shows_its_progress_on_a_terminal(tmp_path):
    pty = pytest.importorskip("pty")
    np.save(tmp_path / "x.npy", np.ones((400000, 3), np.float32))
    master, slave = pty.openpty()
    process = subprocess.Popen([str(bb.COMMAND), "run", "sum_j(exp(-sqdist(x, y)))", "x=x.npy:i", "y=x.npy:j", "-o",
                                "out.npy"], cwd=tmp_path, stderr=slave)
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    os.close(slave)
    text = os.read(master, 65536).decode()
    assert "%" in text and "to go" in text


@pytest.mark.full
def test_bench_prints_the_ratio_to_the_plain_loop():
    done = benben("bench", "gauss/f32/1e3x1e3x3", "argmin/f64/1e3x1e3x3", "gauss/f32/1e3x1e3x3x10")
    assert done.returncode == 0, done.stderr
    assert "ratio" in done.stdout and "pairs/s" in done.stdout
