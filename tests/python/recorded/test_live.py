"""Genuine pykeops and Benben side by side on random formulas. BENBEN_SEED repeats a run."""
import json
import os
import random
import sys
import warnings

import pytest
from hypothesis import HealthCheck, Phase, given, note, seed, settings
from hypothesis import strategies as st

import cases
import compare
import draw
import facts
import genuine
from test_recorded import NAMES, package

SEED = int(os.environ.get("BENBEN_SEED", random.randrange(2 ** 31)))
FORMULAS = 12
pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    try:
        return genuine.load(tmp_path_factory.mktemp("pykeops"))
    except ImportError as error:
        raise AssertionError("install tests/requirements-full.txt, as `make check-all` does") from error


def compare_variants(peer, r, case):
    """How many data were compared; pykeops may fail where it is incomplete."""
    compared = 0
    for variant in (0, r.choice([1, 2])) if r.random() < 0.5 else (0,):  # pykeops compiles anew for most of them
        if variant:
            draw.sizes(r, case, variant)
        note(json.dumps(case))
        try:
            expected, about = genuine.run(peer, case)
        except Exception as error:
            print(f"pykeops fails: {type(error).__name__}: {str(error)[:80]} {json.dumps(case)}")
            continue
        values, mine = cases.run(package, case)
        why = compare.agree(case, values, expected)
        assert why is None, f"{why}\n{json.dumps(case)}"
        assert mine == about, (mine, about)
        compared += 1
    return compared


def test_random_formulas(peer):
    print(f"BENBEN_SEED={SEED}")
    done = []

    @seed(SEED)
    @settings(max_examples=FORMULAS, deadline=None, database=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))
    @given(st.integers(0, 2 ** 32))
    def agree(number):
        r = random.Random(f"live {number}")
        done.append(compare_variants(peer, r, draw.draw(r)))

    agree()
    assert sum(count > 0 for count in done) >= FORMULAS // 2, done


def test_what_is_known_before_anything_runs(peer):
    theirs = facts.names("pykeops")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for expression in facts.PLAIN:
            if expression in facts.DIFFERENT:
                continue
            expected, found = facts.outcome(expression, theirs), facts.outcome(expression, NAMES)
            assert compare.same(found, expected), f"{expression}: {found}, expected {expected}"


def test_the_peer_is_genuine(peer):
    import pykeops
    assert pykeops.__version__ == "2.3" and "benben" not in sys.modules["pykeops"].__file__
