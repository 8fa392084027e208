"""GPO inside verl. This package and :mod:`verl_gpo.cpu` are the only ones that import verl and ray.

Loaded by verl in every process that imports it, by the entry point ``verl.plugins``:
:mod:`~verl_gpo.plugin.register`, which brings in

- :mod:`~verl_gpo.plugin.estimator`      ``algorithm.adv_estimator=gpo``
- :mod:`~verl_gpo.plugin.checks`         settings are checked in the driver, before Ray starts
- :mod:`~verl_gpo.cpu.verl_platform`     the CPU as a verl platform, where there is no accelerator

Selected by name in a configuration (``verl_gpo/trainer/config/gpo_trainer.yaml``):

- :mod:`~verl_gpo.plugin.worker`         the rollout worker that re-enters, and its manager
- :mod:`~verl_gpo.plugin.replay_buffer`  carries ``gpo/*`` metrics into the trainer's logger

Run by the experiments and the end-to-end tests alone:

- :mod:`~verl_gpo.plugin.consecutive`    several short trainings in one pipeline, one after the other

This module stays empty, so that each of them can be loaded without the others.
"""
