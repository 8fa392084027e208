"""How good is a checkpoint, and is it better than another? Benchmarks through vLLM, with the grader of training.

- :mod:`~verl_gpo.evaluation.protocol`    how often each benchmark is sampled, and how
- :mod:`~verl_gpo.evaluation.settings`    the command line, checked before an engine starts
- :mod:`~verl_gpo.evaluation.samples`     the samples on disk: what is there, what is missing, whose work it is
- :mod:`~verl_gpo.evaluation.generate`    one engine draws and grades its share
- :mod:`~verl_gpo.evaluation.measures`    avg@k, pass@k, maj@k
- :mod:`~verl_gpo.evaluation.summary`     table, ``summary.json`` and ``summary.png`` of a run
- :mod:`~verl_gpo.evaluation.compare`     two runs on the same problems

vLLM is reached through :mod:`verl_gpo.inference` alone, several engines too; verl and Ray are not.
"""
