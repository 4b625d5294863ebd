"""pykeops.numpy.utils."""

from ...numpy.utils import *  # noqa: F403
from ...numpy.utils import WarmUpGpu as WarmUpGpu
