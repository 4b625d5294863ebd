"""The text with which scripts of the tests begin that speak to the stand-in for libcuda: a context, and calls within it."""
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
