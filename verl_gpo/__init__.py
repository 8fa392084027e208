"""GPO (Guided Pivotal Optimization, arXiv 2509.16456) for verl: step-level credit without a fork.

- :mod:`verl_gpo.config`   every setting, one dataclass
- :mod:`verl_gpo.core`     the algorithm, pure; start reading here
- :mod:`verl_gpo.plugin`   the glue to verl, loaded by verl itself through an entry point
- ``verl_gpo/trainer``     the packaged verl configuration ``gpo_trainer``
- :mod:`verl_gpo.report`   a run's metrics as a table, a plot and live progress
"""

__version__ = "0.1.0"
