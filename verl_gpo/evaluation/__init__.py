"""Evaluates checkpoints on benchmarks through vLLM, with the grader of training, and compares them.

- :mod:`~verl_gpo.evaluation.protocol`    how often each benchmark is sampled, and how
- :mod:`~verl_gpo.evaluation.settings`    the command line, checked before an engine starts
- :mod:`~verl_gpo.evaluation.samples`     the samples on disk: which exist, which are missing, which engine draws them
- :mod:`~verl_gpo.evaluation.generate`    one engine draws and grades its share
- :mod:`~verl_gpo.evaluation.measures`    avg@k, pass@k, maj@k
- :mod:`~verl_gpo.evaluation.summary`     table, ``summary.json`` and ``summary.png`` of a run
- :mod:`~verl_gpo.evaluation.compare`     two runs on the same problems

vLLM, with one or several engines, is only used through :mod:`verl_gpo.inference`; verl and Ray are not used.
"""
