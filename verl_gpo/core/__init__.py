"""The algorithm, pure: standard library, numpy and torch; never verl, ray or vllm (a test proves it).

Read in this order:

- :mod:`~verl_gpo.core.types`      the nouns, and the Protocols ``Sampler``, ``Scorer`` and ``Splitter``
- :mod:`~verl_gpo.core.reentry`    the procedure for one prompt; it uses ``anchors``, ``group``, ``draw`` and ``budget``
- :mod:`~verl_gpo.core.values`     Monte Carlo state values and step advantages
- :mod:`~verl_gpo.core.critical`   from values to the critical step and its confidence, or to no critical step
- :mod:`~verl_gpo.core.search`     where to sample next: one file for each search; ``uniform`` is the paper's
- :mod:`~verl_gpo.core.advantage`  from the rewards of groups to token advantages
- :mod:`~verl_gpo.core.credit`     from state values to the advantage of each token of a searched response
- :mod:`~verl_gpo.core.learn`      which continuations become training rows
- :mod:`~verl_gpo.core.curve`      the belief about all values of a response, from few samples and the log-probs
- :mod:`~verl_gpo.core.cost`       the expected cost of a training step
- :mod:`~verl_gpo.core.segment`    cuts response tokens into steps
- :mod:`~verl_gpo.core.turns`      responses of several turns, with answers of an environment between them
"""
