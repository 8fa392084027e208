"""Shows a user what a run does: metrics, traces, progress.

- :mod:`~verl_gpo.plugin.observe.metrics`   ``gpo/*`` metrics: a record of each prompt, a summary of each training step
- :mod:`~verl_gpo.plugin.observe.tracing`   traces of what each search saw and chose
- :mod:`~verl_gpo.plugin.observe.trackers`  histograms and trajectories for wandb, tensorboard and mlflow
- :mod:`~verl_gpo.plugin.observe.metrics_file`  verl's metrics file, kept when a training resumes
- :mod:`~verl_gpo.plugin.observe.messages`  warnings in the log
- :mod:`~verl_gpo.plugin.observe.progress`  in which phase a rollout worker's prompts are
"""

#: Environment variable with the time at which the driver was started, which every trace record holds.
STARTED = "VERL_GPO_STARTED"
