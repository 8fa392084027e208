"""vLLM without a trainer and without Ray: for ``offline``, ``evaluation``, ``calibrate``, ``forecast`` and ``report``.

- :mod:`~verl_gpo.inference.engine`       vLLM as the ``Sampler`` of :mod:`verl_gpo.core`
- :mod:`~verl_gpo.inference.task`         prompts and rewards, as verl has them
- :mod:`~verl_gpo.inference.launch`       several engines at the same time, one process for each
- :mod:`~verl_gpo.inference.settings`     ``KEY=VALUE`` arguments of the command lines
- :mod:`~verl_gpo.inference.fingerprint`  the settings that drawn samples depend on (``model``: which checkpoint it was)
- :mod:`~verl_gpo.inference.jsonl`        records on disk that survive a crash
"""
