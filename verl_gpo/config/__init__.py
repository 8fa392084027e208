"""Every choice of GPO's own, validated once. A leaf: it imports nothing of the package, and the standard library only.

- :mod:`~verl_gpo.config.gpo`        ``GPOConfig``, one frozen dataclass, and its presets
- :mod:`~verl_gpo.config.names`      the names that settings may have, as data
- :mod:`~verl_gpo.config.splitters`  the names of the splitters, and their options
- :mod:`~verl_gpo.config.option`     what a setting is: default, what it may hold, help

In a verl configuration the fields form the block ``algorithm.gpo``. A field that is absent or null takes the preset's
value, so ``algorithm.gpo.preset=fast algorithm.gpo.n_mc=8`` means what it says.
"""

from .gpo import PRESETS, GPOConfig
from .names import BLOCK, GIVEN_STEPS
from .option import ConfigError

__all__ = ["BLOCK", "GIVEN_STEPS", "PRESETS", "ConfigError", "GPOConfig"]
