"""Benben gives what genuine pykeops 2.3 gave (pykeops.jsonl, written by record.py)."""
import json
import pathlib
import warnings

import numpy as np
import pytest
import under_test  # noqa: F401  (before benben)

HERE = pathlib.Path(__file__).resolve().parent

import cases  # noqa: E402
import compare  # noqa: E402
import facts  # noqa: E402

import benben.pykeops.numpy as package  # noqa: E402

RECORDS = [json.loads(line) for line in (HERE / "pykeops.jsonl").read_text().splitlines()]
NAMES = facts.names("benben.pykeops")


def array(laid_out):
    dtype = np.dtype(laid_out["dtype"])
    flat = np.array(laid_out["values"], dtype=dtype.type(0).real.dtype)
    return (flat.view(dtype) if dtype.kind == "c" else flat).reshape(laid_out["shape"])


def test_there_are_enough():
    assert len(RECORDS) >= 500 and sum("case" in r for r in RECORDS) >= 300


@pytest.mark.parametrize("k", [k for k, r in enumerate(RECORDS) if "case" in r])
def test_case(k):
    record = RECORDS[k]
    values, about = cases.run(package, record["case"])
    why = compare.agree(record["case"], values, [array(r) for r in record["results"]])
    assert why is None, f"{why}\n{json.dumps(record['case'])}"
    assert about is None or compare.same(about["shape"], record["about"]["shape"]) and \
        about["dtype"] == record["about"]["dtype"] and about["dim"] == record["about"]["dim"], (about, record["about"])


@pytest.mark.parametrize("k", [k for k, r in enumerate(RECORDS) if "fact" in r])
def test_fact(k):
    record = RECORDS[k]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = facts.outcome(record["fact"], NAMES)
    assert compare.same(found, record["outcome"]), f"{record['fact']}: {found}, expected {record['outcome']}"
