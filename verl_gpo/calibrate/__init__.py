"""Measures how often each search finds the critical step and what it costs, on any model and data set.

``python -m verl_gpo.calibrate`` estimates every state value of some responses with many continuations (:mod:`.pool`),
lets each search work on the same responses many times with these continuations (:mod:`.replay`), and reports hit rate
and cost with intervals, and a setting for a wanted hit rate (:mod:`.report`). The cost of a run is estimated by
:mod:`verl_gpo.plan`.
"""
