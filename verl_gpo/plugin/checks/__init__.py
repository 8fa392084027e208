"""Settings are checked in the driver, after Hydra has composed them and before Ray starts.

- :mod:`~verl_gpo.plugin.checks.validate`        the order of the checks; what GPO asks of a verl configuration
- :mod:`~verl_gpo.plugin.checks.accelerators`    where the run computes, decided once for all processes
- :mod:`~verl_gpo.plugin.checks.values`          values of verl's settings that cannot work
- :mod:`~verl_gpo.plugin.checks.outstanding`     requests that keep a rollout server from new weights
- :mod:`~verl_gpo.plugin.checks.never_learns`    settings that search, and learn from no re-entry
- :mod:`~verl_gpo.plugin.checks.without_effect`  settings that the run would not read
- :mod:`~verl_gpo.plugin.checks.unknown_keys`    keys that verl would refuse only after Ray has started
- :mod:`~verl_gpo.plugin.checks.files`           files and folders that the run reads or writes
- :mod:`~verl_gpo.plugin.checks.rows`            rows of the data that have no prompt
- :mod:`~verl_gpo.plugin.checks.backends`        engines and loggers that this host does not have
- :mod:`~verl_gpo.plugin.checks.verls_own`       verl's own checks, for ``verl_gpo.plan``
"""
