"""Settings are checked in the driver, after Hydra has composed them and before Ray starts.

- :mod:`~verl_gpo.plugin.checks.validate`      what GPO adds to and asks of a verl configuration
- :mod:`~verl_gpo.plugin.checks.unknown_keys`  keys that verl would stumble over only after Ray has started
- :mod:`~verl_gpo.plugin.checks.backends`      engines that this host cannot run
"""
