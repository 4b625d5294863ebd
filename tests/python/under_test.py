"""Where the Python package under test is: in the folder that BENBEN_SITE names; else it is the wheel that `make python`
installed into this Python; else, where there is no such environment, what CMake staged in build/site."""
import filecmp
import importlib.util
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
STAGED = pathlib.Path(os.environ.get("BENBEN_BUILD", ROOT / "build")) / "site"


def _site():
    if os.environ.get("BENBEN_SITE"):
        return os.environ["BENBEN_SITE"]
    found = importlib.util.find_spec("benben")
    if not found or not found.origin:
        return str(STAGED)
    installed = pathlib.Path(found.origin).parent
    for staged in (STAGED / "benben").rglob("*"):  # nobody tests yesterday's wheel unawares
        other = installed / staged.relative_to(STAGED / "benben")
        if staged.suffix in (".py", ".so", ".pyi") and not (other.exists() and filecmp.cmp(staged, other)):
            raise RuntimeError(f"{other} is not what {staged} is: run `make python`")
    return str(installed.parent)


SITE = _site()
if SITE not in sys.path:
    sys.path.insert(0, SITE)
