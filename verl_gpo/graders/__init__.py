"""Rule rewards: `compute_score` for verl's ``reward.custom_reward_function`` and for evaluation. No framework.

- :mod:`~verl_gpo.graders.score`      the entry point: ``data_source`` to grader
- :mod:`~verl_gpo.graders.extract`    the final answer in a response, in any of the forms that prompts ask for
- :mod:`~verl_gpo.graders.math`       mathematics: plain numbers here, the rest by math-verify in a worker
- :mod:`~verl_gpo.graders.choice`     option letters
- :mod:`~verl_gpo.graders.bbh`        the answer forms of BIG-Bench Hard
- :mod:`~verl_gpo.graders.gym`        reasoning-gym's own scorers
- :mod:`~verl_gpo.graders.pool`       worker processes with a time limit that holds in any thread
"""

from .score import UnknownDataSource, compute_score

__all__ = ["UnknownDataSource", "compute_score"]
