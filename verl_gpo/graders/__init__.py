"""Rule rewards: `compute_score` grades a response for verl's ``reward.custom_reward_function`` and for evaluation.

Nothing here imports verl, torch or another framework.

- :mod:`~verl_gpo.graders.score`      the entry point: ``data_source`` to grader
- :mod:`~verl_gpo.graders.extract`    the final answer in a response, in any of the forms that prompts ask for
- :mod:`~verl_gpo.graders.gold`       ground truths of any shape: either read, or refused with a message
- :mod:`~verl_gpo.graders.math`       mathematics: numbers, units and lists are compared here, formulas in a worker
- :mod:`~verl_gpo.graders.latex`      LaTeX rewritten into one form, and split at commas, equality signs and brackets
- :mod:`~verl_gpo.graders.numbers`    plain numbers, in digits and words
- :mod:`~verl_gpo.graders.units`      the unit, or other words, after a number
- :mod:`~verl_gpo.graders.structure`  lists, tuples, intervals, matrices, equations
- :mod:`~verl_gpo.graders.symbolic`   formulas, by math-verify's parser and their values, in the worker
- :mod:`~verl_gpo.graders.choice`     option letters
- :mod:`~verl_gpo.graders.bbh`        the answer forms of BIG-Bench Hard
- :mod:`~verl_gpo.graders.gym`        reasoning-gym's own scorers
- :mod:`~verl_gpo.graders.pool`       worker processes with a time limit that holds in any thread

``python -m verl_gpo.graders CASES.jsonl`` grades cases of your own (see :mod:`verl_gpo.graders.__main__`).
"""

from .score import UnknownDataSource, compute_score

__all__ = ["UnknownDataSource", "compute_score"]
