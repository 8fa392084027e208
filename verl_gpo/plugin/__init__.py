"""GPO inside verl. This package and :mod:`verl_gpo.cpu` are the only ones that import verl and ray.

verl loads :mod:`~verl_gpo.plugin.register` in every process that imports verl, through the entry point
``verl.plugins``. This module activates

- :mod:`~verl_gpo.plugin.estimator`      ``algorithm.adv_estimator=gpo``
- :mod:`~verl_gpo.plugin.checks`         settings are checked in the driver, before Ray starts
- :mod:`~verl_gpo.plugin.watch`          a process that dies ends the run; nothing outlives the driver
- :mod:`~verl_gpo.plugin.sockets`        weights do not go to another run on the same machine
- :mod:`~verl_gpo.cpu.verl_platform`     the CPU as a verl platform, on hosts without an accelerator

Selected by name in a configuration (``verl_gpo/trainer/config/gpo_trainer.yaml``):

- :mod:`~verl_gpo.plugin.worker`         the rollout worker that runs GPO's search and re-entry, and its manager
- :mod:`~verl_gpo.plugin.replay_buffer`  carries ``gpo/*`` metrics into the trainer's logger

Used only by the experiments and the end-to-end tests:

- :mod:`~verl_gpo.plugin.consecutive`    several short trainings in one pipeline, one after the other

This ``__init__`` imports nothing, so that each of them can be loaded without the others.
"""
