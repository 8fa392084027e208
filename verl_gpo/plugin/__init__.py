"""The glue; the only part of the package that imports verl, ray and vLLM.

Loaded by name, through entry points:

- :mod:`~verl_gpo.plugin.register`       by verl, in every process that imports it
- :mod:`~verl_gpo.plugin.vllm_cpu`       by vLLM, in every process of its own

which bring in

- :mod:`~verl_gpo.plugin.estimator`      ``algorithm.adv_estimator=gpo``
- :mod:`~verl_gpo.plugin.validate`       settings are checked in the driver, before Ray starts
- :mod:`~verl_gpo.plugin.cpu`            the CPU as a verl platform, where there is no accelerator

Selected by name in a configuration (``verl_gpo/trainer/config/gpo_trainer.yaml``):

- :mod:`~verl_gpo.plugin.worker`         the rollout worker that re-enters, and its manager
- :mod:`~verl_gpo.plugin.replay_buffer`  carries ``gpo/*`` metrics into the trainer's logger

This module stays empty, so that each of them can be loaded without the others.
"""
