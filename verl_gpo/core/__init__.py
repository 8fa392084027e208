"""The algorithm, pure: standard library, numpy and torch; never verl, ray or vllm (a test proves it).

Read in this order:

- :mod:`~verl_gpo.core.types`      the nouns, and the Protocols ``Sampler``, ``Scorer`` and ``Splitter``
- :mod:`~verl_gpo.core.steps`      response tokens to steps, lossless
- :mod:`~verl_gpo.core.values`     Monte Carlo state values and step advantages
- :mod:`~verl_gpo.core.critical`   step advantages to the critical step, or none
- :mod:`~verl_gpo.core.reentry`    the engine: value, pick, reset, resample
- :mod:`~verl_gpo.core.advantage`  groups of rewards to token advantages
"""
