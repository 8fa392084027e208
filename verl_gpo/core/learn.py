"""What is learnt from: which continuations of which states become rows of the batch.

``fresh``
    New rollouts from the reset state. Unbiased: those that chose the state are not used. Costs ``n_reentry`` rollouts.
``reuse``
    The continuations that were drawn from the reset state anyway. Free, but they are a biased sample of it: under
    ``argmax`` the step was chosen *because* they did badly (winner's curse), so their mean understates ``V(s_m)``.
    Advantages within the group are centred on that same mean, so their signs stay right; their scale does not.
``split``
    Continuations from the reset state that took no part in the choice. Unbiased and free, at half the evidence: of the
    continuations of each state every second one is kept out of the choice. ``adaptive`` chooses first and draws the
    group afterwards, within the same budget. ``propose`` checks with one half of a group and draws the other half for
    the step that it chose.
``all``
    Every state with two continuations or more is a group of its own, the critical one marked, and weighted by
    ``critical_weight``. Nothing is thrown away. The critical group is as biased as in ``reuse``, the others the other
    way.

``scripts/bench_search.py`` measures the bias of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .types import ScoredContinuation, Tokens

LEARN_FROM = ("fresh", "reuse", "split", "all")


@dataclass(frozen=True)
class BranchGroup:
    """Rollouts from one state that are learnt from together.

    Attributes:
        state: index ``k`` of the state in its anchor.
        prefix: response tokens that are kept.
        rollouts: continuations of ``s_k``.
        critical: whether it is the state that the critical step resets to.
    """

    state: int
    prefix: Tokens
    rollouts: tuple[ScoredContinuation, ...]
    critical: bool


def takes_part_in_choice(learn_from: str, sequential: bool, number: int) -> bool:
    """Whether the ``number``-th continuation of a state may be looked at by the search."""
    return learn_from != "split" or sequential or number % 2 == 0


def check_size(learn_from: str, n_reentry: int) -> int:
    """Continuations that check a proposed step: the group that is learnt from, or half of it under ``split``."""
    return max(1, n_reentry // 2) if learn_from == "split" else n_reentry


def missing_continuations(
    learn_from: str, sequential: bool, reset_state: int, drawn: int, n_reentry: int, by_group: bool = False
) -> int:
    """Continuations still to be drawn at the reset state after the choice.

    Args:
        learn_from: one of :data:`LEARN_FROM`.
        sequential: whether the search left room in its budget for them.
        reset_state: at ``s_0`` only ``fresh`` draws: its continuations are the root group, which is learnt from anyway.
        drawn: continuations drawn there.
        n_reentry: wanted size of the group.
        by_group: whether what checked the state is a part of ``n_reentry`` even under ``split`` (:func:`check_size`).
    """
    if learn_from == "fresh":
        return n_reentry
    if reset_state == 0:
        return 0
    if by_group and learn_from == "split":
        return n_reentry - min(drawn, n_reentry // 2)
    if not sequential:
        usable = drawn // 2 if learn_from == "split" else drawn
        return 0 if usable else n_reentry  # chosen without having been sampled: by chance, or by the belief
    return n_reentry if learn_from == "split" else max(n_reentry - drawn, 0)


def branch_groups(
    learn_from: str,
    sequential: bool,
    drawn: Mapping[int, tuple[Tokens, Sequence[ScoredContinuation]]],
    reset_state: int | None,
    added: Sequence[ScoredContinuation],
) -> tuple[BranchGroup, ...]:
    """The groups of one anchor.

    Args:
        learn_from: one of :data:`LEARN_FROM`.
        sequential: as above.
        drawn: state -> its prefix and the continuations that the search drew there, in order. Those that were cut short
            are left out: the policy did not end there.
        reset_state: where the critical step resets to; None without one.
        added: the continuations drawn after the choice.

    Returns:
        Groups without a single rollout are left out. Without a critical step there are none, but under ``all``, whose
        groups do not depend on the choice.
    """
    groups = []
    for state, (prefix, samples) in sorted(drawn.items()):
        critical = state == reset_state
        if learn_from == "all":
            rollouts = _whole((*samples, *(added if critical else ())))
            if len(rollouts) < 2 and not critical:
                continue  # nothing to compare it with
        elif not critical:
            continue
        elif learn_from == "reuse":
            rollouts = _whole((*samples, *added))
        elif learn_from == "split" and not sequential:
            rollouts = _whole((*samples[1::2], *added))
        else:
            rollouts = tuple(added)
        if rollouts:
            groups.append(BranchGroup(state, prefix, tuple(rollouts), critical))
    return tuple(groups)


def _whole(samples: Sequence[ScoredContinuation]) -> tuple[ScoredContinuation, ...]:
    return tuple(sample for sample in samples if not sample.cut)
