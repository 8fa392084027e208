"""Computes rows, optimizer steps, tokens and memory of a training step before a run, also for its twins without GPO.

- :mod:`~verl_gpo.plan.configuration`  Hydra's composition without the import of verl, in a second
- :mod:`~verl_gpo.plan.numbers`        rows, optimizer steps and tokens of a training step
- :mod:`~verl_gpo.plan.twin`           the overrides with which a twin costs the same tokens
- :mod:`~verl_gpo.plan.architecture`   sizes of a model, from its config.json or a table
- :mod:`~verl_gpo.plan.memory`         GPU memory
- :mod:`~verl_gpo.plan.show`           the plan on the terminal
- :mod:`~verl_gpo.plan.offline`        the same for pairs and preference optimization

It needs no Ray, no engine and no GPU. The checks of a run (:mod:`verl_gpo.plugin.checks`) refuse what cannot work.
Hydra prints the configuration with ``--cfg job``, and the files that it comes from with ``--info defaults``.
"""
