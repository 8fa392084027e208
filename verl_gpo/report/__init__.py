"""What a run did: :mod:`~verl_gpo.report.live` while it runs, :mod:`~verl_gpo.report.summary` afterwards."""
