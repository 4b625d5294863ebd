"""The benchmark's machinery on tiny sizes, with the systems that need nothing but NumPy and a C compiler."""
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

BENCH = pathlib.Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))
from suite import cases, machine, peers, reference, runner, sets  # noqa: E402

SMALL = {"batch": "6x5x3", "block": "400x400x3", "argkmin100": "17x150x3", "lddmm": "37x37x3",
         "ham": "37x37x3", "solve": "37x37x3"}
WITHOUT_LOOP = ("g1", "l1", "lse1", "ham", "solve")  # bench/loops.c has none for them


@pytest.fixture(scope="module")
def limits():
    runner.PAUSE = 0
    return machine.Machine(1e-4)


def measure(name, systems, limits):
    told = []
    record = runner.measure(runner.make_ready(cases.parse(name), systems, told.append), limits, 0, 3)
    assert set(record["systems"]) == set(systems), told
    return record


@pytest.mark.parametrize("family", cases.FAMILIES)
def test_benben_has_every_case(family, limits):
    size = SMALL.get(family, SMALL.get(family.removesuffix("-all"), "37x41x3"))
    record = measure(f"{family}/f64/{size}", ["interp"], limits)
    bound = cases.TOLERANCE * 10 if family == "solve" else 1e-12
    assert record["systems"]["interp"]["error"] < bound
    single = measure(f"{family}/f32/{size}", ["interp"], limits)
    assert single["systems"]["interp"]["error"] < max(bound, 2e-5)


@pytest.mark.parametrize("name", ["gauss/f32/33x47x3", "argkmin/f64/33x47x20", "gradient/f32/33x47x3",
                                  "block/f32/300x300x2", "lddmm/f64/33x33x3", "gauss/f16/33x47x3"])
def test_peers_agree(name, limits):
    systems = ["numpy"] if "block" not in name else []
    systems += ["plain"] if "f16" not in name else []
    for system in measure(name, systems, limits)["systems"].values():
        assert system["error"] < 1e-4


@pytest.mark.full
@pytest.mark.parametrize("family", [f for f, v in cases.FAMILIES.items() if not v.derive and f not in WITHOUT_LOOP])
def test_plain_loops(family, limits):
    size = SMALL.get(family, "37x41x3")
    record = measure(f"{family}/f64/{size}", ["plain"], limits)
    assert record["systems"]["plain"]["error"] < 1e-12


@pytest.mark.full
@pytest.mark.parametrize("name", ["gauss/f32/133x247x3", "gauss/f64/33x47x11", "gauss/f32/133x247x50",
                                  "gauss/f32/70x300x3x7", "argmin/f32/133x247x3", "argkmin/f32/133x247x50",
                                  "logsumexp/f64/133x247x3", "logsumexp/f32/65x1x2", "argkmin/f32/70x300x784"])
def test_hand_written_kernels(name, limits):
    """Every shape, not just the fastest."""
    case = cases.parse(name)
    data = cases.make(case)
    judge = reference.Reference(case, data)
    shapes = peers.forms("hand", case, data, case.m)
    if not shapes:
        pytest.skip("not on this machine")
    for how, run in shapes:
        assert judge.error(run(), case.m) < (1e-12 if case.kind == "f64" else 1e-5), how


@pytest.mark.full
@pytest.mark.parametrize("name", ["gauss/f32/70x80x3", "gauss/f64/70x80x3", "gauss/f32/70x80x50",
                                  "gauss/f32/70x80x3x7"])
def test_hand_written_kernels_far_out(name):
    """What is far away is exactly 0, one exponent is 0, and a NaN stays in its row."""
    case = cases.parse(name)
    data = cases.make(case)
    data["x"][1] += 1e4
    data["x"][2, 0] = np.nan
    data["x"][3] = data["y"][0]
    data["y"][1:] += 10
    for how, run in peers.forms("hand", case, data, case.m):
        out = run()
        assert (out[1] == 0).all(), how
        assert np.isnan(out[2]).all() and np.isfinite(np.delete(out, 2, 0)).all(), how
        np.testing.assert_allclose(out[3], data["b"][0], rtol=1e-2 if case.d > 10 else 1e-6, err_msg=how)


def test_limits_are_positive_and_errors_are_seen(limits):
    case = cases.parse("gauss/f32/33x47x3")
    limits.measure(False)
    assert limits.limit(case) > 0 and limits.clock > 0
    data = cases.make(case)
    judge = reference.Reference(case, data)
    exact = np.exp(-np.square(data["x"][:, None] - data["y"]).sum(-1) / 0.5) @ data["b"]
    assert judge.error(exact, 33) < 1e-5
    assert judge.error(exact * 1.01, 33) == pytest.approx(0.01, rel=0.05)
    nearest = cases.parse("argmin/f32/33x47x3")
    wrong = np.zeros((33, 1), np.int64)
    assert reference.Reference(nearest, cases.make(nearest)).error(wrong, 33) > 0.01


def test_every_named_case_parses():
    for members in sets.SETS.values():
        for name, _ in members:
            case = cases.parse(name)
            assert case.operations > 0 and case.pairs > 0
    with pytest.raises(SystemExit, match="is no case"):
        cases.parse("gauss/f32/1e4")


def test_the_command_writes_json(tmp_path):
    environment = {**os.environ, "BENBEN_BENCH_PYTHON": "1"}
    command = [sys.executable, str(BENCH / "run"), "gauss/f32/50x60x3", "--systems", "benben,numpy", "--budget", "0",
               "--rounds", "3", "--output", str(tmp_path)]
    for _ in range(2):  # the second run replaces the record
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "Gpair/s" in done.stdout
    written = json.loads((tmp_path / "single.json").read_text())
    assert [r["case"] for r in written["records"]] == ["gauss/f32/50x60x3"]
    assert written["machine"]["threads"] >= 1
    for system in written["records"][0]["systems"].values():
        assert 0 < system["minimum"] <= system["median"] and system["error"] < 1e-4
