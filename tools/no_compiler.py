#!/usr/bin/env python3
"""The tests of the Python package in a file system that has no compiler: Python, its packages, the installed wheel and the
tests, nothing else, and that is the root folder (chroot). Where this user may not do that, the tests run in the whole
file system, with an empty PATH; the closing line says which of the two it was.

    no_compiler.py --site FOLDER [--root build/no-compiler] [arguments of pytest]
"""
from __future__ import annotations

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig

ROOT = pathlib.Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests" / "python"
UNWANTED = re.compile(r"^(benben|torch|nvidia|triton|jax|pykeops|keopscore|mypy|ruff|pip|setuptools|cmake|ninja|sphinx)")
COMPILERS = re.compile(r"^(cc|c\+\+|gcc|g\+\+|clang|tcc|icx?|cl|ld|as|lld|nvcc|cpp|cc1)([-.]?[\d.]+)?$")

# The end of the import to the first result; a formula that no kernel inside the library is made for.
FIRST = """
import numpy as np
x, y, b = np.random.rand(300, 3), np.random.rand(200, 3), np.random.rand(200, 1)
import benben.numpy as bn
import time
start = time.perf_counter()
D = ((bn.Vi(x) - bn.Vj(y)) ** 2).sum(-1)
a = (-D.sqrt() - D / 3).exp() @ b
seconds = time.perf_counter() - start
d = ((x[:, None] - y) ** 2).sum(-1)
np.testing.assert_allclose(a, np.exp(-np.sqrt(d) - d / 3) @ b)
print(f"no compiler: {1e3 * seconds:.1f} ms from the end of import to the first result of a new formula (at most 100 wanted)")
"""
NOTHING_COMPILES = """
import benben
text = str(benben.doctor())
assert "no C compiler" in text, text
"""


def linked(source: pathlib.Path, root: pathlib.Path, ignore=None) -> None:
    """The file or folder at the same place under root: by hard links where they can be made."""

    def link(a, b):
        if os.path.exists(b):
            return
        try:
            os.link(a, b)
        except OSError:
            shutil.copy2(a, b)

    target = root / source.relative_to("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, copy_function=link, ignore=ignore, dirs_exist_ok=True)
    elif not target.exists():
        link(os.path.realpath(source), target)


def shared_objects(files) -> set[str]:
    """What the loader would load for these files."""
    found = set()
    for file in files:
        done = subprocess.run(["ldd", str(file)], capture_output=True, text=True)
        found |= set(re.findall(r"(?:=>\s*)?(/\S+\.so\S*)", done.stdout))
    return found


def furnish(root: pathlib.Path, site: pathlib.Path) -> None:
    """Python with its packages, the wheel, the tests."""
    shutil.rmtree(root, ignore_errors=True)
    base, prefix = pathlib.Path(sys.base_prefix), pathlib.Path(sys.prefix)
    standard = pathlib.Path(sysconfig.get_path("stdlib"))
    program = pathlib.Path(os.path.realpath(sys.executable))
    packages = pathlib.Path(sysconfig.get_path("purelib"))
    unneeded = shutil.ignore_patterns("test", "idlelib", "lib2to3", "ensurepip", "site-packages", "dist-packages",
                                      "config-*", "__pycache__")
    linked(standard, root, unneeded)
    linked(program, root)
    linked(packages, root, lambda folder, names: [n for n in names if n == "__pycache__" or (
        folder == str(packages) and UNWANTED.match(n))])
    for path in [site, TESTS, ROOT / "pyproject.toml", ROOT / "python", ROOT / "examples"]:
        linked(path, root, shutil.ignore_patterns("__pycache__", ".hypothesis"))
    if prefix != base:  # a virtual environment: its links to the program
        linked(prefix / "pyvenv.cfg", root)
        (root / prefix.relative_to("/") / "bin").mkdir()
        (root / prefix.relative_to("/") / "bin/python").symlink_to(program)
    libraries = shared_objects([program, *(standard / "lib-dynload").glob("*.so")])
    for name in ("libstdc++.so.6", "libgcc_s.so.1", "libm.so.6", "librt.so.1", "libdl.so.2", "libpthread.so.0", "libutil.so.1"):
        libraries |= {library for folder in {os.path.dirname(library) for library in libraries}
                      if os.path.exists(library := os.path.join(folder, name))}
    for library in libraries:
        linked(pathlib.Path(library), root)
    for name in ("tmp", "proc", "dev", "etc"):
        (root / name).mkdir(exist_ok=True)
    (root / "etc/passwd").write_text("root:x:0:0:root:/tmp:/none\n")


def found_compilers(root: pathlib.Path) -> list[str]:
    return [os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names
            if COMPILERS.match(name) and os.access(os.path.join(folder, name), os.X_OK)]


def way_in(root: pathlib.Path) -> list[str] | None:
    """A command that runs what follows with `root` as the root folder, or None."""
    mounted = f'mount --rbind /proc "{root}/proc" && mount --rbind /dev "{root}/dev" && exec chroot "{root}" "$@"'
    for unshare in (["unshare", "--mount"], ["unshare", "--user", "--map-root-user", "--mount"]):
        command = [*unshare, "sh", "-c", mounted, "sh"]
        try:
            done = subprocess.run([*command, sys.executable, "-c", "open('/dev/null'), open('/proc/self/maps')"],
                                  capture_output=True)
        except OSError:
            return None
        if done.returncode == 0:
            return command
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--site", type=pathlib.Path, required=True, help="the folder that the wheel is installed in")
    parser.add_argument("--root", type=pathlib.Path, default=ROOT / "build/no-compiler")
    options, rest = parser.parse_known_args()
    root, site = options.root.resolve(), options.site.resolve()
    furnish(root, site)
    assert not found_compilers(root), found_compilers(root)
    command, where = way_in(root), f"with {options.root} as the root folder, in which there is no compiler"
    empty = root / "tmp"
    if command is None:
        command, where = [], "in the whole file system with an empty PATH: chroot is not permitted here"
        print("skipped: chroot", where)
    environment = {"PATH": "/tmp" if command else str(empty), "HOME": "/tmp" if command else str(empty), "LANG": "C.UTF-8",
                   "BENBEN_SITE": str(site), "PYTHONPATH": str(site)}

    def run(*arguments: str) -> int:
        inside = [sys.executable, *arguments]
        if not command:
            return subprocess.run(inside, env=environment, cwd=empty).returncode
        clean = "import os, sys; os.chdir('/tmp'); os.execve(sys.argv[1], sys.argv[1:], " + repr(environment) + ")"
        return subprocess.run([*command, sys.executable, "-c", clean, *inside]).returncode

    status = run("-c", NOTHING_COMPILES) or run("-c", FIRST)
    status = status or run("-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", str(TESTS / "package"),
                           "--ignore", str(TESTS / "package/test_types.py"), *rest)  # that one is about the sources
    print(f"the tests ran {where}")
    return status


if __name__ == "__main__":
    sys.exit(main())
