"""The package under test is the one staged by `make python`, or the one that BENBEN_SITE names."""
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, os.environ.get("BENBEN_SITE") or str(pathlib.Path(os.environ.get("BENBEN_BUILD", ROOT / "build")) / "site"))
