"""How often does a search find the critical step, and what does it cost? On any model and data set.

``python -m verl_gpo.calibrate`` values every state of some responses with many continuations (:mod:`.pool`), lets each
strategy search the same responses many times over what was drawn (:mod:`.replay`), and reports hit rate and cost with
intervals, and a setting for a wanted hit rate (:mod:`.report`). What GPO will cost in a run :mod:`verl_gpo.plan` says.
"""
