"""python -m benben.pykeops script.py ...: runs a program whose `import pykeops` is Benben; -m and -c as Python's."""

from __future__ import annotations

import os
import runpy
import sys

import benben


def main() -> None:
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: python -m benben.pykeops script.py ...  |  -m module ...  |  -c 'code' ...")
        sys.exit(0 if arguments else 2)
    benben.install_as_pykeops()
    if arguments[0] == "-m":
        if len(arguments) < 2:
            sys.exit("-m: the name of a module is missing")
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif arguments[0] == "-c":
        if len(arguments) < 2:
            sys.exit("-c: the code is missing")
        sys.argv = ["-c", *arguments[2:]]
        exec(compile(arguments[1], "<string>", "exec"), {"__name__": "__main__", "__builtins__": __builtins__})
    else:
        sys.argv = arguments
        sys.path[0] = os.path.dirname(os.path.abspath(arguments[0]))
        runpy.run_path(arguments[0], run_name="__main__")


main()
