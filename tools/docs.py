#!/usr/bin/env python3
"""`make docs`: stages docs/ and examples/ in build/docs, runs Doxygen over benben.h and Sphinx over the rest; a warning is an error.

Every script of examples/ and examples/torch with a docstring goes into the gallery. One whose docstring has no title gets
its name as one. Nothing is written outside of build/.
"""
from __future__ import annotations

import argparse
import ast
import filecmp
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
APART = {"terrain.py"}  # run by `make demo`, with arguments
DOXYFILE = """
PROJECT_NAME = benben
INPUT = {root}/include/benben.h
INPUT_FILTER = "{python} {root}/docs/_ext/header_filter.py"
OUTPUT_DIRECTORY = {out}
GENERATE_HTML = NO
GENERATE_LATEX = NO
GENERATE_XML = YES
XML_PROGRAMLISTING = NO
OPTIMIZE_OUTPUT_FOR_C = YES
TYPEDEF_HIDES_STRUCT = YES
EXTRACT_ALL = YES
AUTOLINK_SUPPORT = NO
QUIET = YES
WARN_AS_ERROR = FAIL_ON_WARNINGS
WARN_IF_UNDOCUMENTED = NO
WARN_IF_INCOMPLETE_DOC = NO
"""


def write(path: pathlib.Path, text: str) -> None:
    """Leaves a file alone that has the text already, so that Sphinx need not read it again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def titled(text: str, name: str) -> str:
    """The script, its docstring with a title."""
    body = ast.parse(text).body
    documented = body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
    doc = ast.get_docstring(ast.parse(text)) if documented else None
    if doc is None:
        return text
    if re.search(r"^([=\-~#*^\"'])\1{2,}\s*$", doc, re.M):
        return text
    first = re.split(r"[:,.;]", doc)[0].replace("\n", " ")
    title = first if len(first) <= 60 else name.replace("_", " ").capitalize()
    rest = text.split("\n")[body[0].end_lineno:]
    return f'"""\n{title}\n{"=" * len(title)}\n\n{doc}\n"""\n' + "\n".join(rest)


def helpers(folder: pathlib.Path) -> set[str]:
    """Scripts that others of the folder import: no examples."""
    imported = set()
    for path in folder.glob("*.py"):
        imported |= set(re.findall(r"^(?:from|import) (\w+)", path.read_text(), re.M))
    return {path.name for path in folder.glob("*.py") if path.stem in imported}


def stage_gallery(source: pathlib.Path, target: pathlib.Path, header: pathlib.Path) -> None:
    wanted = {"GALLERY_HEADER.rst": header.read_text()}
    for path in sorted(source.glob("*")):
        if path.suffix == ".py":
            text = path.read_text()
            wanted[path.name] = text if path.name in helpers(source) else titled(text, path.stem)
        elif path.suffix in (".npy", ".npz", ".png", ".txt", ".csv"):
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target / path.name)
    for name in APART - helpers(source):
        wanted.pop(name, None)
    for name, text in wanted.items():
        write(target / name, text)
    for path in target.glob("*.py"):
        if path.name not in wanted:
            path.unlink()


def stage_pages(target: pathlib.Path) -> None:
    present = set()
    for path in sorted((ROOT / "docs").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            copy = target / path.relative_to(ROOT / "docs")
            present.add(copy)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if not copy.exists() or not filecmp.cmp(path, copy, shallow=False):
                shutil.copy(path, copy)
    for path in (ROOT / "examples" / "talk").glob("*.py"):
        write(target.parent / "examples" / "talk" / path.name, path.read_text())
    for path in [*target.rglob("*.md"), *target.rglob("*.rst")]:
        if path not in present and "gallery" not in path.relative_to(target).parts:
            path.unlink()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--pages-only", action="store_true", help="show the examples, but do not run them")
    options = parser.parse_args()
    out = options.build.resolve() / "docs"
    out.mkdir(parents=True, exist_ok=True)
    os.environ.update(BENBEN_ROOT=str(ROOT), BENBEN_BUILD=str(options.build.resolve()), MPLBACKEND="Agg",
                      PYTHONPATH=str(options.build.resolve() / "site"))
    os.environ.setdefault("BENBEN_CACHE_DIR", str(out / "cache"))
    (out / "Doxyfile").write_text(DOXYFILE.format(root=ROOT, out=out, python=sys.executable))
    subprocess.run(["doxygen", str(out / "Doxyfile")], check=True)
    stage_pages(out / "source")
    os.environ["BENBEN_HELPERS"] = "|".join(sorted(helpers(ROOT / "examples") | helpers(ROOT / "examples/torch")))
    stage_gallery(ROOT / "examples", out / "examples" / "numpy", ROOT / "docs/gallery/numpy/GALLERY_HEADER.rst")
    stage_gallery(ROOT / "examples/torch", out / "examples" / "torch", ROOT / "docs/gallery/torch/GALLERY_HEADER.rst")
    command = [sys.executable, "-W", "error::DeprecationWarning:__main__", "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(out / "source"), str(out / "html")]
    if options.pages_only:
        command[5:5] = ["-D", "plot_gallery=0"]
    status = subprocess.run(command).returncode
    if status == 0:
        print(f"{out / 'html' / 'index.html'}")
    return status


if __name__ == "__main__":
    sys.exit(main())
