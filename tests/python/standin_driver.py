"""The stand-ins for libcuda and NVRTC, whose kernels compute on the host (tests/standin), and the text with which scripts of
the tests begin that speak to them: a context, and calls within it."""
import os
import pathlib
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BENBEN_BUILD", ROOT / "build"))
FOLDER = ROOT / "tests" / "standin"


def standins():
    """The environment that puts them in place; what they compile is kept, a folder for each content of the stand-ins."""
    content = b"".join((FOLDER / name).read_bytes() for name in ("cuda.c", "emulate.hpp"))
    kept = BUILD / "emulated" / f"{zlib.crc32(content):08x}"
    kept.mkdir(parents=True, exist_ok=True)
    return {"BENBEN_LIBCUDA": str(BUILD / "tests" / "libstandin_cuda.so"),
            "BENBEN_NVRTC": str(BUILD / "tests" / "libstandin_nvrtc.so"),
            "STANDIN_EMULATE": str(FOLDER / "emulate.hpp"), "STANDIN_KEPT": str(kept)}


DRIVER = """
import ctypes as c, os
cu = c.CDLL(os.environ["BENBEN_LIBCUDA"])
context, STREAM = c.c_void_p(), 12345
assert cu.cuInit(0) == 0 and cu.cuDevicePrimaryCtxRetain(c.byref(context), 0) == 0

def call(name, *arguments):
    assert cu.cuCtxPushCurrent_v2(context) == 0
    code = getattr(cu, name)(*arguments)
    assert cu.cuCtxPopCurrent_v2(c.byref(c.c_void_p())) == 0
    assert code == 0
"""
