"""What a training step will be, before it: rows, optimizer steps, tokens and memory, beside the twins without GPO.

- :mod:`~verl_gpo.plan.configuration`  Hydra's composition without the import of verl, in a second
- :mod:`~verl_gpo.plan.numbers`        rows, optimizer steps and tokens of a training step
- :mod:`~verl_gpo.plan.twin`           what makes a baseline twin cost the same tokens
- :mod:`~verl_gpo.plan.architecture`   sizes of a model, from its config.json or a table
- :mod:`~verl_gpo.plan.memory`         GPU memory
- :mod:`~verl_gpo.plan.show`           the plan on the terminal
- :mod:`~verl_gpo.plan.offline`        the same for pairs and preference optimization

No Ray, no engine, no GPU. What cannot work is found by the checks of a run (:mod:`verl_gpo.plugin.checks`). What the
configuration is, Hydra says: ``--cfg job``, and ``--info defaults`` for the files that it comes from.
"""
