"""verl and vLLM on a host without an accelerator. Nothing here concerns GPO; it could be a package of its own.

- :mod:`~verl_gpo.cpu.detect`         whether there is an accelerator
- :mod:`~verl_gpo.cpu.cluster`        which Ray cluster a run joins, and what that has
- :mod:`~verl_gpo.cpu.settings`       the settings of a GPU configuration that are changed for the CPU
- :mod:`~verl_gpo.cpu.verl_platform`  the CPU as a platform of verl's, and the patches that verl needs for it
- :mod:`~verl_gpo.cpu.vllm_plugin`    vLLM's half, which vLLM loads by its entry point ``vllm.general_plugins``
- :mod:`~verl_gpo.cpu.zygote`         Ray's workers are forked from one process that has imported everything

This module stays empty, so that each of them can be loaded without the others.
"""
