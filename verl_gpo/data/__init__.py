"""Public data sets in verl's parquet schema: ``python -m verl_gpo.data.prepare``. Nothing here imports a framework.

- :mod:`~verl_gpo.data.prepare`    the command: reads a data set, filters it, writes it
- :mod:`~verl_gpo.data.request`    its options, checked
- :mod:`~verl_gpo.data.registry`   the data sets that are known, and how a row of each is read
- :mod:`~verl_gpo.data.load`       rows from the hub or from a local copy
- :mod:`~verl_gpo.data.parquet`    rows of a parquet file, converted to Python objects
- :mod:`~verl_gpo.data.columns`    the cells of a row, checked
- :mod:`~verl_gpo.data.gym`        tasks of reasoning-gym, which are generated
- :mod:`~verl_gpo.data.boxes`      boxes in LaTeX
- :mod:`~verl_gpo.data.gold`       the final answer of a published solution
- :mod:`~verl_gpo.data.dedup`      repeated questions, and questions of evaluation sets
- :mod:`~verl_gpo.data.templates`  prompts
- :mod:`~verl_gpo.data.write`      verl's schema, and folders that are either complete or absent
"""
