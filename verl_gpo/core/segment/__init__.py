"""Cuts response tokens into steps. Every splitter is lossless on the token ids that the policy wrote.

- :mod:`~verl_gpo.core.segment.steps`       the ends of steps: which splitter, merging of short steps, an upper bound
- :mod:`~verl_gpo.core.segment.splitters`   the splitters
- :mod:`~verl_gpo.core.segment.token_text`  maps positions in the decoded text to positions between tokens
"""
