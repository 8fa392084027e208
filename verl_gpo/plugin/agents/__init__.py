"""Trajectories of several turns: re-entry at a turn of the policy, or inside one.

- :mod:`~verl_gpo.plugin.agents.output`    what a loop gives with a rollout, so that it can be continued
- :mod:`~verl_gpo.plugin.agents.restore`   how tools and their environments are brought back to an earlier state
- :mod:`~verl_gpo.plugin.agents.states`    the states of a rollout from which generation began
- :mod:`~verl_gpo.plugin.agents.loop`      ``gpo_tool_agent``, verl's tool agent loop with both
- :mod:`~verl_gpo.plugin.agents.sampler`   such a loop as the procedure's ``Sampler``
- :mod:`~verl_gpo.plugin.agents.tool`      a tool of verl for an environment that is a plain class

What a user's tool declares is in :mod:`verl_gpo.agents`.
"""
