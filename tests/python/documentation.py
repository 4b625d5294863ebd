"""Finds the code blocks of Markdown pages and runs them, in order, a page in a folder and a namespace of its own.

python   is executed; a block of >>> is a doctest. A `text` block right behind it is what it must print.
console  each line behind `$ ` is a command (several lines where quotes stay open); lines below it are what it must print,
         `...` standing for any lines.
c        is saved under the name in its first comment, for the commands below it, and must compile.
text, cmake, and blocks without a language are not code. Numbers are compared with a relative tolerance of 1e-3.
"""
from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
CODE, NOT_CODE = {"python", "console", "c"}, {"", "text", "cmake", "makefile"}


@dataclass
class Block:
    language: str
    text: str
    line: int
    expected: str | None = None


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page; directives (`{name}`) are none."""
    found: list[Block] = []
    lines = page.read_text().split("\n")
    k, end = 0, -1
    while k < len(lines):
        match = re.match(r"^( *)(`{3,})(.*)$", lines[k])
        if not match:
            k += 1
            continue
        first = k + 1
        k = first
        while lines[k].strip() != match[2]:
            k += 1
        language = match[3].strip()
        text = "\n".join(line[len(match[1]):] for line in lines[first:k]) + "\n"
        behind = found and end >= 0 and not "".join(lines[end + 1:first - 1]).strip()
        if language == "text" and behind and found[-1].language == "python":
            found[-1].expected = text
        elif not language.startswith("{"):
            assert language in CODE | NOT_CODE, f"{page}:{first}: blocks of {language!r} are not run by any test"
            found.append(Block(language, text, first + 1))
        end = k
        k += 1
    return [block for block in found if block.language in CODE]


def same_line(found: str, expected: str) -> bool:
    if NUMBER.sub("#", " ".join(found.split())) != NUMBER.sub("#", " ".join(expected.split())):
        return False
    pairs = zip(NUMBER.findall(found), NUMBER.findall(expected))
    return all(abs(float(a) - float(b)) <= 1e-6 + 1e-3 * abs(float(b)) for a, b in pairs)


def same(found: str, expected: str) -> bool:
    """Line by line; a line `...` of the expected text stands for any number of lines."""
    a, b = found.rstrip().split("\n"), expected.rstrip().split("\n")

    def fits(k: int, n: int) -> bool:
        if n == len(b):
            return k == len(a)
        if b[n].strip() == "...":
            return any(fits(m, n + 1) for m in range(k, len(a) + 1))
        return k < len(a) and same_line(a[k], b[n]) and fits(k + 1, n + 1)

    return fits(0, 0)


class _Checker(doctest.OutputChecker):
    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return super().check_output(want, got, optionflags) or same(got, want)


def run_python(block: Block, namespace: dict, where: str) -> None:
    if ">>> " in block.text:
        test = doctest.DocTestParser().get_doctest(block.text, namespace, where, where, block.line)
        runner = doctest.DocTestRunner(_Checker(), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
        said = io.StringIO()
        result = runner.run(test, out=said.write, clear_globs=False)
        namespace.update(test.globs)
        assert result.failed == 0, f"{where}\n{said.getvalue()}"
        return
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile("\n" * (block.line - 1) + block.text, where.split(":")[0], "exec"), namespace)
    if block.expected is not None:
        assert same(printed.getvalue(), block.expected), f"{where} prints\n{printed.getvalue()}"


def commands(text: str) -> list[tuple[str, str]]:
    """(command, what it prints) of a console block."""
    found: list[list[str]] = []
    for line in text.rstrip("\n").split("\n"):
        if line.startswith("$ "):
            found.append([line[2:], ""])
            continue
        assert found, f"a console block begins with '$ ', not with {line!r}"
        complete = subprocess.run(["bash", "-nc", found[-1][0]], capture_output=True).returncode == 0
        if not complete or found[-1][0].endswith("\\"):
            found[-1][0] += "\n" + line
        else:
            found[-1][1] += line + "\n"
    return [(command, output) for command, output in found]


def run_console(block: Block, folder: Path, environment: dict, where: str) -> None:
    for command, output in commands(block.text):
        done = subprocess.run(["bash", "-ec", command], cwd=folder, env=environment, text=True, capture_output=True,
                              timeout=300)
        said = f"{where}\n$ {command}\n{done.stdout}{done.stderr}"
        assert done.returncode == 0, said
        assert not output or same(done.stdout, output), f"{said}\nexpected:\n{output}"


def run_page(page: Path, folder: Path, environment: dict) -> int:
    """Runs a page; the number of its blocks."""
    found = blocks(page)
    namespace: dict = {"__name__": "__page__"}
    before = os.getcwd()
    os.chdir(folder)
    try:
        for block in found:
            where = f"{page.name}:{block.line}"
            if block.language == "python":
                run_python(block, namespace, where)
            elif block.language == "console":
                run_console(block, folder, environment, where)
            else:
                name = re.match(r"/\* (\w+\.c)\b", block.text)
                assert name, f"{where}: a C block opens with a comment that names its file, /* name.c: ... */"
                (folder / name[1]).write_text(block.text)
                flags = environment["BENBEN_TEST_CFLAGS"].split()
                done = subprocess.run(["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", *flags, "-c", name[1], "-o",
                                       "checked.o"], cwd=folder, text=True, capture_output=True)
                assert done.returncode == 0, f"{where}\n{done.stderr}"
    finally:
        os.chdir(before)
    return len(found)
