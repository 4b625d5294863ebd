"""Exceptions: one class for each kind of failure, each also the built-in that Python programs expect of it."""


class Error(Exception):
    """What Benben raises, apart from MemoryError and KeyboardInterrupt."""


class ArgumentError(Error, ValueError):
    """An argument of the call is not valid."""


class FormulaError(Error, SyntaxError):
    """The text of a formula cannot be read."""


class UnknownNameError(Error, NameError):
    """A formula names an operation or a variable that does not exist."""


class ShapeError(Error, ValueError):
    """Dimensions or shapes do not fit together."""


class DtypeError(Error, ValueError, TypeError):
    """A data type is not supported here, or two do not fit together."""


class RangesError(Error, ValueError):
    """Block-sparse ranges are inconsistent."""


class NotDifferentiableError(Error, NotImplementedError):
    """A derivative does not exist or is not defined."""


class CompilerError(Error, RuntimeError):
    """No compiler was found, or it failed."""


class CacheError(Error, OSError):
    """The cache folder cannot be used."""


class DeviceError(Error, ValueError):
    """The device or the target is not available."""


class CancelledError(Error):
    """A progress callback stopped the computation."""


class ConvergenceError(Error, ArithmeticError):
    """An iteration stopped before it reached the tolerance."""


class SystemError_(Error, OSError):
    """The operating system refused a request."""


class InternalError(Error, RuntimeError):
    """A defect of Benben: please report it."""


class ConvergenceWarning(UserWarning):
    """A solve stopped before it reached the tolerance; the last iterate is returned."""


# by number of bb_status
BY_STATUS = [
    InternalError,
    MemoryError,
    ArgumentError,
    FormulaError,
    UnknownNameError,
    ShapeError,
    DtypeError,
    RangesError,
    NotDifferentiableError,
    CompilerError,
    CacheError,
    DeviceError,
    CancelledError,
    ConvergenceError,
    ConvergenceError,
    SystemError_,
    InternalError,
]
