"""Response tokens to steps. Every way to cut is lossless on the token ids that the policy wrote.

- :mod:`~verl_gpo.core.segment.steps`       the ends of steps: which splitter, merging of short steps, an upper bound
- :mod:`~verl_gpo.core.segment.splitters`   the ways to cut
- :mod:`~verl_gpo.core.segment.token_text`  positions in the decoded text to positions between tokens
"""
