"""Forecast what pays, before anything is trained: the gradients of several methods on the user's model and prompts.

``python -m verl_gpo.forecast`` samples groups as each method would, with about the same number of tokens for each, and
computes the policy gradient of a part of the weights for independent batches. How far these batches agree says how many
tokens a method needs for a gradient that is more signal than noise.

- :mod:`~verl_gpo.forecast.settings`  what a user sets, and its bounds
- :mod:`~verl_gpo.forecast.methods`   the methods, as settings of ``algorithm.gpo``
- :mod:`~verl_gpo.forecast.groups`    a group of rollouts with the advantages of its tokens, as it is kept on disk
- :mod:`~verl_gpo.forecast.sample`    draws the groups
- :mod:`~verl_gpo.forecast.gradient`  from groups to gradients
- :mod:`~verl_gpo.forecast.signal`    from gradients to signal and noise
- :mod:`~verl_gpo.forecast.step`      success after one step along a gradient
- :mod:`~verl_gpo.forecast.run`       all of these in turn, with one engine
- :mod:`~verl_gpo.forecast.report`    the table, and what it recommends
"""
