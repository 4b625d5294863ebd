"""Directives that ask the library: the output of a command, the tables of operations and reductions. And mathematics as
MathML, which browsers show without a script."""
from __future__ import annotations

import html
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

BUILD = pathlib.Path(os.environ["BENBEN_BUILD"])


def run(command: str) -> str:
    """What a shell command prints, with the built `benben` in the path."""
    scratch = BUILD / "docs" / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    environment = {**os.environ, "PATH": f"{BUILD}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-ec", command], cwd=scratch, env=environment, text=True, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"{command}\n{done.stdout}{done.stderr}")
    return done.stdout


class Command(SphinxDirective):
    """Runs the shell commands in its body and shows what they print. :lines: A-B leaves out the rest; :language: of
    the output; :hide: shows the output without the command."""

    has_content = True
    option_spec: ClassVar = {"lines": directives.unchanged, "language": directives.unchanged, "hide": directives.flag}

    def run(self) -> list[nodes.Node]:
        command = "\n".join(self.content)
        output = run(command).rstrip("\n").split("\n")
        if "lines" in self.options:
            first, last = (int(n) for n in self.options["lines"].split("-"))
            output = output[first - 1:last] + (["..."] if last < len(output) else [])
        found: list[nodes.Node] = []
        if "hide" not in self.options:
            prompt = "\n".join(f"$ {line}" for line in command.split("\n"))
            found.append(nodes.literal_block(prompt, prompt, language="console"))
        text = "\n".join(output)
        found.append(nodes.literal_block(text, text, language=self.options.get("language", "text"), classes=["output"]))
        return found


def table(header: list[str], widths: list[int], rows: list[list[nodes.Node]]) -> nodes.table:
    group = nodes.tgroup(cols=len(header))
    group += [nodes.colspec(colwidth=width) for width in widths]
    head, body = nodes.thead(), nodes.tbody()

    def row(cells: list[nodes.Node]) -> nodes.row:
        return nodes.row("", *[nodes.entry("", nodes.paragraph("", "", cell)) for cell in cells])

    head += row([nodes.Text(text) for text in header])
    body += [row(cells) for cells in rows]
    group += [head, body]
    return nodes.table("", group, classes=["operations"])


def code(text: str) -> nodes.Node:
    return nodes.literal(text, text) if text else nodes.Text("")


class Operations(SphinxDirective):
    """The table of operations of one kind (map, fold, contract, index, macro, build), from `benben ops --json`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        rows = [op for op in json.loads(run("benben ops --json"))["operations"] if op["kind"] == self.arguments[0]]
        if not rows:
            raise self.error(f"no operation of the kind {self.arguments[0]}")
        titles = ["name", "KeOps", "operands", "integers", "cost", "gradient", "meaning"]
        return [table(titles, [14, 14, 6, 6, 6, 6, 48], [
            [code(op["name"]), code(op["alias"]), nodes.Text(str(op["arity"])),
             nodes.Text("any" if op["integers"] < 0 else str(op["integers"])),
             nodes.Text(f"{op['cost']:g}" if op["cost"] else ""),
             nodes.Text("yes" if op["differentiable"] else "no"), nodes.Text(op["doc"])] for op in rows])]


class Reductions(SphinxDirective):
    """The table of reductions, from `benben ops --json`."""

    def run(self) -> list[nodes.Node]:
        return [table(["name", "KeOps", "formulas", "K", "result", "meaning"], [18, 18, 6, 4, 8, 46], [
            [code(f"{op['name']}_j"), code(op["alias"]), nodes.Text(str(op["formulas"])),
             nodes.Text("K" if op["takes_k"] else ""),
             nodes.Text("indices" if op["is_index"] else "values"), nodes.Text(op["doc"])]
            for op in json.loads(run("benben ops --json"))["reductions"]])]


def plain(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Docstrings are plain text with `code`: what reST would take for markup in them is escaped."""
    example = False
    for k, line in enumerate(lines):
        example = line.lstrip().startswith(">>>") or (example and bool(line.strip()))
        if example or line.lstrip().startswith(".."):
            continue
        parts = re.split(r"(``.*?``|`[^`]*`)", line)
        for n, part in enumerate(parts):
            if n % 2:
                parts[n] = part if part.startswith("``") else f"`{part}`"
            else:
                parts[n] = re.sub(r"([|*])", r"\\\1", re.sub(r"(\w)_(?!\w)", r"\1\\_", part))
        lines[k] = "".join(parts)


def reset(gallery: dict, name: str) -> None:
    """Each example starts as a program would: the types of PyTorch, what examples share, the look of pictures."""
    import matplotlib.pyplot as plt
    import torch

    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)
    for helper in os.environ["BENBEN_HELPERS"].split("|"):
        sys.modules.pop(helper.removesuffix(".py"), None)
    plt.rcParams.update({"figure.dpi": 100, "font.size": 10, "axes.spines.top": False, "axes.spines.right": False})


def arguments(gallery: dict, script: dict) -> list[str]:
    """Examples leave pictures and numbers where the tests look for them (tests/python/test_examples.py)."""
    return ["--output", str(BUILD / "docs" / "results")]


def inline(self, node: nodes.Element) -> None:
    self.body.append(convert(html.unescape(node.astext())))
    raise nodes.SkipNode


def display(self, node: nodes.Element) -> None:
    self.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("command", Command)
    app.add_directive("operations", Operations)
    app.add_directive("reductions", Reductions)
    app.connect("autodoc-process-docstring", plain)
    app.add_html_math_renderer("mathml", (inline, None), (display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
