"""What this machine has for a training, and what is missing: ``python -m verl_gpo.doctor``.

- :mod:`~verl_gpo.doctor.finding`   a line of the table
- :mod:`~verl_gpo.doctor.machine`   Python, accelerators, shared memory, disk
- :mod:`~verl_gpo.doctor.software`  torch, vLLM, verl, its plugin, Ray: each loaded in a process of its own
- :mod:`~verl_gpo.doctor.process`   a short program in such a process
- :mod:`~verl_gpo.doctor.versions`  the installed versions compared with those that are pinned and locked
- :mod:`~verl_gpo.doctor.trial`     two training steps of a tiny model
- :mod:`~verl_gpo.doctor.tiny`      that model, its data and its reward

Nothing here imports verl, Ray or vLLM. If one of them is broken, it becomes a line of the table, and not a traceback.
"""
