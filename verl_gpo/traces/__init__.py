"""The files that a run writes about itself. The rollout workers write them, the report page and the plan read them.

- :mod:`~verl_gpo.traces.record`     the draws and the choice of one search, as a JSON record
- :mod:`~verl_gpo.traces.writer`     writes records to files from a thread, up to a maximal size
- :mod:`~verl_gpo.traces.reader`     reads records from files that may still be written
- :mod:`~verl_gpo.traces.runlog`     the metrics that verl's file logger wrote
- :mod:`~verl_gpo.traces.phases`     in which phase a run is
- :mod:`~verl_gpo.traces.step_line`  one line for a training step
"""
