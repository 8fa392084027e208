"""What a run will be, before it: configuration, batch arithmetic, tokens, memory. No Ray, no engine, no GPU.

- :mod:`~verl_gpo.plan.configuration`  Hydra's composition without the import of verl, in a second
- :mod:`~verl_gpo.plan.numbers`        rows, optimizer steps and tokens of a training step
- :mod:`~verl_gpo.plan.twin`           what makes a baseline twin cost the same tokens
- :mod:`~verl_gpo.plan.architecture`   sizes of a model, from its config.json or a table
- :mod:`~verl_gpo.plan.memory`         GPU memory
- :mod:`~verl_gpo.plan.checks`         verl's own checks and GPO's
- :mod:`~verl_gpo.plan.origins`        which file sets what
- :mod:`~verl_gpo.plan.show`           the plan on the terminal
- :mod:`~verl_gpo.plan.offline`        the same for pairs and preference optimization
"""
