"""What is there on this machine to train with, and what is missing: ``python -m verl_gpo.doctor``.

- :mod:`~verl_gpo.doctor.finding`   a line of the table
- :mod:`~verl_gpo.doctor.machine`   Python, accelerators, shared memory, disk
- :mod:`~verl_gpo.doctor.software`  torch, vLLM, verl, its plugin, Ray: each loaded in a process of its own
- :mod:`~verl_gpo.doctor.versions`  what is installed against what is pinned and locked
- :mod:`~verl_gpo.doctor.trial`     two training steps of a tiny model
- :mod:`~verl_gpo.doctor.tiny`      that model, its data and its reward

Nothing here imports verl, Ray or vLLM: what is broken is then a line of the table and no traceback.
"""
