"""The cache and the compiler as processes see them: shared, hostile, absent."""
import os
import pathlib
import stat
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent
PROGRAM = """
import sys, numpy as np, bb
x, y = np.linspace(0, 1, 90).reshape(30, 3), np.linspace(0, 2, 120).reshape(40, 3)
kernel = bb.parse("sum_j(exp(-sqdist(x, y)) * sin(sqdist(x, y) + 1))", "x:i3", "y:j3").compile(
    target=sys.argv[1], policy="wait")
out = kernel(x, y)
s = bb.statistics()
print(s.compiles, s.disk_hits, repr(float(out.sum())), *kernel.tier("float64"))
"""


def start(folder, target="cpu", **environment):
    env = dict(os.environ, BENBEN_CACHE_DIR=str(folder), **environment)
    return subprocess.Popen([sys.executable, "-c", PROGRAM, target], cwd=HERE, env=env, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def finish(process):
    """(compiles, hits, sum, tier and reason)"""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    compiles, hits, total, rest = out.strip().split(" ", 3)
    return int(compiles), int(hits), total, rest


def run(folder, target="cpu", **environment):
    return finish(start(folder, target, **environment))


def entries(folder):
    return [p for p in folder.iterdir() if p.is_file()]


def test_the_second_process_compiles_nothing(tmp_path):
    folder = tmp_path / "cache"
    first = run(folder)
    assert first[0] >= 1 and first[1] == 0
    second = run(folder)
    assert second[0] == 0 and second[1] >= 1 and second[2] == first[2]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_six_processes_at_once_agree(tmp_path):
    folder = tmp_path / "cache"
    results = [finish(p) for p in [start(folder) for _ in range(6)]]
    assert len({r[2] for r in results}) == 1
    assert sum(r[0] for r in results) < 6 * results[0][0] + 6


@pytest.mark.parametrize("damage", ["truncated", "foreign", "flipped"])
def test_a_damaged_entry_is_made_again(tmp_path, damage):
    folder = tmp_path / "cache"
    first = run(folder)
    for path in entries(folder):
        content = bytearray(path.read_bytes())
        if damage == "truncated":
            content = content[:len(content) // 2]
        if damage == "foreign":
            content = bytearray(b"\x7fELF") + bytearray(len(content) - 4)
        if damage == "flipped":
            content[len(content) // 2] ^= 0x40
        path.write_bytes(content)
    second = run(folder)
    assert second[0] >= 1 and second[1] == 0 and second[2] == first[2]
    assert run(folder)[0] == 0


def test_without_a_usable_folder_kernels_are_kept_in_memory(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    result = run(blocked / "cache")
    assert result[0] >= 1 and result[3].startswith("cpu")
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    result = run(shared)
    assert result[0] >= 1 and result[3].startswith("cpu") and not entries(shared)


def test_a_link_is_no_cache_folder(tmp_path):
    target = tmp_path / "elsewhere"
    target.mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(target)
    assert run(tmp_path / "link")[3].startswith("cpu") and not entries(target)


def test_without_a_compiler_everything_works_and_tells_why_it_is_slow(tmp_path):
    expected = run(tmp_path / "cache")
    empty = tmp_path / "empty"
    empty.mkdir()
    python = os.path.realpath(sys.executable)
    assert python
    result = run(tmp_path / "other", target="auto", PATH=str(empty), BENBEN_CC="")
    assert result[0] == 0 and result[2] == expected[2]
    assert result[3].startswith("interp ") and "compiler" in result[3]


def test_a_compiler_that_fails_is_named(tmp_path):
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\necho 'this compiler is broken' >&2\nexit 3\n")
    broken.chmod(0o755)
    process = start(tmp_path / "cache", BENBEN_CC=str(broken))
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0 and "this compiler is broken" in err


def test_a_host_that_ignores_its_children_gets_kernels(tmp_path):
    program = "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n" + PROGRAM
    env = dict(os.environ, BENBEN_CACHE_DIR=str(tmp_path / "cache"))
    out = subprocess.run([sys.executable, "-c", program, "cpu"], cwd=HERE, env=env, capture_output=True, text=True,
                         timeout=120)
    assert out.returncode == 0, out.stderr
    assert int(out.stdout.split()[0]) >= 1


def test_a_process_may_end_while_a_compile_is_under_way(tmp_path):
    program = PROGRAM.replace('policy="wait"', 'policy="background"')
    env = dict(os.environ, BENBEN_CACHE_DIR=str(tmp_path / "cache"))
    for _ in range(5):
        out = subprocess.run([sys.executable, "-c", program, "auto"], cwd=HERE, env=env, capture_output=True, text=True,
                             timeout=120)
        assert out.returncode == 0, out.stderr


@pytest.mark.parametrize("variable, value", [("BENBEN_ISA", "0"), ("BENBEN_ISA", "1"), ("BENBEN_THREADS", "1"),
                                             ("BENBEN_TARGET", "interp")])
def test_environment_variables_change_no_digit_that_matters(tmp_path, variable, value):
    expected = float(run(tmp_path / "a")[2])
    assert abs(float(run(tmp_path / "b", "auto", **{variable: value})[2]) - expected) < 1e-10 * abs(expected)
