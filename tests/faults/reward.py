"""The arithmetic task's reward, which fails where the data's ``extra_info.fault`` says so.

``KIND_root`` fails for the second rollout of the prompt, ``KIND_search`` for the second continuation behind its root
rollouts. ``KIND`` is one of ``raise``, ``hang``, ``nan`` and ``slow``.
"""

import collections
import itertools
import math
import os
import threading
import time

from recipes.arithmetic.reward import compute_score as right

ROOTS = 4
_calls = collections.defaultdict(itertools.count)
_lock = threading.Lock()


def compute_score(data_source, solution_str, ground_truth, extra_info=None, **kwargs):
    scored = right(data_source, solution_str, ground_truth)
    kind, _, where = str((extra_info or {}).get("fault") or "").partition("_")
    with _lock:
        number = next(_calls[extra_info["index"]])
    if number != {"root": 1, "search": ROOTS + 1}.get(where):
        return scored
    if kind == "raise":
        raise KeyError(f"injected for the {where} of prompt {extra_info['index']}")
    if kind == "nan":
        return {"score": math.nan, "acc": math.nan}
    if kind in ("hang", "slow"):
        time.sleep(1e6 if kind == "hang" else float(os.environ["VERL_GPO_FAULT_SLOW"]))
    return scored
