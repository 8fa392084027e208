"""What a tool or an environment declares, so that a trajectory of several turns can be continued from one of its turns.

This package imports neither verl nor anything of GPO, so a file with a user's tools can import it anywhere. The
loop that restores environments is :mod:`verl_gpo.plugin.agents.loop`.
"""

from __future__ import annotations

from .environment import (
    KINDS,
    REPLAY,
    SIDE_EFFECTS,
    STATELESS,
    Environment,
    RestorableTool,
    environment_class,
    restores,
)

__all__ = [
    "KINDS",
    "REPLAY",
    "SIDE_EFFECTS",
    "STATELESS",
    "Environment",
    "RestorableTool",
    "environment_class",
    "restores",
]
