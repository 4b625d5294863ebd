"""pykeops.torch.utils."""

from ...torch.utils import *  # noqa: F403
from ...torch.utils import WarmUpGpu as WarmUpGpu
