"""Settings shared by the tests: the marks `full` and `gallery`, and a cache folder of their own."""
import os
import tempfile

import numpy as np
import pytest

np.seterr(all="ignore")
os.environ.setdefault("BENBEN_CACHE_DIR", tempfile.mkdtemp(prefix="benben-test-"))
if "PYTEST_XDIST_WORKER" in os.environ:  # processes that count compilations share no cache
    os.environ["BENBEN_CACHE_DIR"] = os.path.join(os.environ["BENBEN_CACHE_DIR"], os.environ["PYTEST_XDIST_WORKER"])


def pytest_configure(config):
    config.addinivalue_line("markers", "full: runs in `make check-all` only")
    config.addinivalue_line("markers", "gallery: an example; where BENBEN_GALLERY names the folder in which `make docs` has just "
                            "run it, its pictures and numbers there are tested instead of running it once more")


@pytest.fixture(params=[os.environ["BENBEN_TEST_TARGET"]] if "BENBEN_TEST_TARGET" in os.environ else ["interp", "cpu"])
def target(request):
    return request.param
