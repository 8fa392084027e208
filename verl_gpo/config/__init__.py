"""Every choice of GPO's own, validated once. A leaf: it imports nothing of the package, and the standard library only.

- :mod:`~verl_gpo.config.settings`   the settings, a field each
- :mod:`~verl_gpo.config.gpo`        ``GPOConfig``, which reads and validates them
- :mod:`~verl_gpo.config.names`      the names that settings may have, and the presets, as data
- :mod:`~verl_gpo.config.splitters`  the names of the splitters, and their options
- :mod:`~verl_gpo.config.option`     what a setting is: default, what it may hold, help, who reads it and when
- :mod:`~verl_gpo.config.reference`  all of it as a table: ``python -m verl_gpo.config``

In a verl configuration the fields form the block ``algorithm.gpo``. A field that is absent or null takes the preset's
value, so ``algorithm.gpo.preset=fast algorithm.gpo.n_mc=8`` means what it says. A field that is set and that nothing
reads under the other settings is refused.
"""

from .gpo import GPOConfig, owned_by
from .names import BLOCK, GIVEN_STEPS, PRESETS
from .option import ConfigError

__all__ = ["BLOCK", "GIVEN_STEPS", "PRESETS", "ConfigError", "GPOConfig", "owned_by"]
