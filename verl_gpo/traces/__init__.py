"""What a run leaves on disk for its readers. The rollout workers write it, the report page and the plan read it.

- :mod:`~verl_gpo.traces.record`     what one search saw and chose, as a JSON record
- :mod:`~verl_gpo.traces.writer`     records to files, from a thread, within a bound on their size
- :mod:`~verl_gpo.traces.reader`     records back from files that may still be written
- :mod:`~verl_gpo.traces.runlog`     the metrics that verl's file logger wrote
- :mod:`~verl_gpo.traces.phases`     in which phase a run is
- :mod:`~verl_gpo.traces.step_line`  one line for a training step
"""
