"""Shows what a run does: :mod:`~verl_gpo.report.live` during the run, :mod:`~verl_gpo.report.summary` afterwards."""
