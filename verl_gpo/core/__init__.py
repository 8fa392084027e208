"""The algorithm, pure: standard library, numpy and torch; never verl, ray or vllm (a test proves it).

Read in this order:

- :mod:`~verl_gpo.core.types`      the nouns, and the Protocols ``Sampler``, ``Scorer`` and ``Splitter``
- :mod:`~verl_gpo.core.reentry`    the engine, all of it together (``anchors``, ``group``, ``draw``, ``budget``)
- :mod:`~verl_gpo.core.values`     Monte Carlo state values and step advantages
- :mod:`~verl_gpo.core.critical`   values to the critical step and its confidence, or none
- :mod:`~verl_gpo.core.search`     where to sample next: one file a strategy; ``uniform`` is the paper's
- :mod:`~verl_gpo.core.advantage`  groups of rewards to token advantages
- :mod:`~verl_gpo.core.learn`      which continuations are learnt from
- :mod:`~verl_gpo.core.curve`      the belief about all values of a response, from few samples and the log-probs
- :mod:`~verl_gpo.core.cost`       what all of it will cost
- :mod:`~verl_gpo.core.segment`    response tokens to steps
"""
