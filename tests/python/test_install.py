"""The installed library serves a small consumer, through pkg-config and through CMake."""
import os
import shutil
import subprocess

import pytest

import bb

SOURCE = r"""
#include <benben.h>
#include <stdio.h>
int main(void) {
    bb_context *context;
    bb_program *program;
    if (bb_context_new(&context) != BB_OK ||
        bb_program_parse(context, "sum_j(x:i1 * y:j1)", NULL, 0, &program) != BB_OK) return 1;
    bb_program_release(program);
    bb_context_release(context);
    printf("consumer of %s\n", bb_version());
    return 0;
}
"""
CMAKE = """
cmake_minimum_required(VERSION 3.20)
project(consumer C)
find_package(benben 0.1 REQUIRED)
add_executable(shared main.c)
target_link_libraries(shared benben::benben)
add_executable(static main.c)
target_link_libraries(static benben::static)
"""


def run(*arguments, **options):
    done = subprocess.run([str(a) for a in arguments], capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    cmake = shutil.which("cmake") or bb.ROOT / ".venv/bin/cmake"
    folder = tmp_path_factory.mktemp("install")
    run(cmake, "--install", bb.BUILD, "--prefix", folder)
    (folder / "main.c").write_text(SOURCE)
    (folder / "CMakeLists.txt").write_text(CMAKE)
    return folder


@pytest.mark.full
def test_a_cmake_project_finds_the_library(prefix):
    cmake = shutil.which("cmake") or bb.ROOT / ".venv/bin/cmake"
    run(cmake, "-S", prefix, "-B", prefix / "out", f"-DCMAKE_PREFIX_PATH={prefix}")
    run(cmake, "--build", prefix / "out")
    for name in ("shared", "static"):
        assert run(prefix / "out" / name) == "consumer of 0.1.0\n"


@pytest.mark.full
def test_pkg_config_finds_the_library(prefix):
    if not shutil.which("pkg-config"):
        pytest.skip("pkg-config is not installed")
    folder = next(prefix.glob("lib*/**/pkgconfig"))
    env = dict(os.environ, PKG_CONFIG_PATH=str(folder), PKG_CONFIG_SYSTEM_LIBRARY_PATH="/none",
               PKG_CONFIG_SYSTEM_INCLUDE_PATH="/none")
    flags = run("pkg-config", "--cflags", "--libs", "benben", env=env).split()
    run(os.environ.get("CC", "cc"), prefix / "main.c", "-o", prefix / "consumer", *flags)
    env["LD_LIBRARY_PATH"] = str(folder.parent)
    assert run(prefix / "consumer", env=env) == "consumer of 0.1.0\n"
    assert (prefix / "bin/benben").exists()


@pytest.mark.full
def test_the_shared_library_exports_its_interface_alone():
    names = run("nm", "-D", "--defined-only", bb.LIBRARY)
    exported = {line.split()[-1].split("@")[0] for line in names.splitlines()} - {"BENBEN_0"}
    header = (bb.ROOT / "include/benben.h").read_text()
    assert exported and all(name.startswith("bb_") and f"{name}(" in header for name in exported)
    assert "libbenben.so.0" in run("readelf", "-d", bb.LIBRARY)


@pytest.mark.full
def test_the_library_needs_libc_libm_threads_and_dlopen_alone():
    needed = [line.split("[")[1].split("]")[0] for line in run("readelf", "-d", bb.LIBRARY).splitlines()
              if "NEEDED" in line]
    allowed = ("libc.so", "libm.so", "libdl.so", "libpthread.so", "ld-linux")
    assert all(name.startswith(allowed) for name in needed)
