"""``rows=matched``: a prompt has as many rows as without re-entry, of which re-entry rollouts take some."""

import pytest

from tests.plugin.fakes import ANCHOR, N_MC, N_REENTRY, RESET_UID, WRONG, FakeClient, N, ids

# Five rows a prompt, three of them kept for re-entry: the roots are those of the other tests, sessions 0 and 1.
MATCHED = ("algorithm.gpo.rows=matched", f"actor_rollout_ref.rollout.n={N + N_REENTRY}")


def test_matched_rows_are_as_many_as_without_reentry(start):
    run = start(*MATCHED).prompt()
    # Re-entry rollouts keep clear of the roots' sessions.
    assert run.uids() == {"p_0_0": "p", "p_1_0": "p", **{f"p_{i}_0": RESET_UID for i in (5, 6, 7)}}
    assert run.metrics["gpo/rollouts/root"] == 2.0 and run.metrics["gpo/rollouts/reentry"] == 3.0


def test_without_critical_step_further_roots_take_the_place(start):
    run = start(*MATCHED)
    run.client.answer = lambda state, number: "= 6" if state else WRONG
    run.prompt()
    assert run.uids() == {f"p_{i}_0": "p" for i in range(5)}
    assert run.queue.tags["p"]["status"] == "finished"
    assert run.metrics["gpo/rollouts/root"] == 5.0 and run.metrics["gpo/rollouts/reentry"] == 0.0
    assert run.record["root_tokens"] == 5 * len(ids(WRONG))  # further roots count
    finished = [key for key, tag in run.queue.log if tag.get("status") == "finished"]
    assert finished == ["p"] and run.queue.log[-1][0] == "p"  # nothing is written after the prompt is finished


@pytest.mark.parametrize("lost", [1, 2])
def test_what_reentry_lacks_is_filled_with_roots(start, lost):
    """Of three re-entry rollouts one or two are lost. Two can be compared; one alone is of no use to a group."""
    run = start(*MATCHED)
    fails = lambda state, number: state == "aaaa\n" and number >= N_MC + N_REENTRY - lost  # noqa: E731
    run.client.fail = lambda state, number: ConnectionError("lost") if fails(state, number) else None
    run.client.answer = lambda state, number: FakeClient.answer(
        run.client, state, min(number, 1) if not state else number
    )
    run.prompt()
    roots, reentered = (3, 2) if lost == 1 else (5, 0)
    assert sorted(run.uids().values()) == sorted(["p"] * roots + [RESET_UID] * reentered)
    assert run.metrics["gpo/rollouts/reentry"] == reentered and run.metrics["gpo/rollouts/root"] == roots


def test_a_critic_needs_no_second_rollout(start):
    run = start("algorithm.adv_estimator=gae")
    run.client.fail = lambda state, number: ConnectionError("lost") if state == "aaaa\n" and number > N_MC else None
    run.prompt()
    assert [row["uid"] for row in run.reentry_rows().values()] == [RESET_UID]


def test_no_more_than_the_reserved_rows(start):
    """Of the five continuations that were drawn at the reset state, three are learnt from."""
    run = start(*MATCHED, "algorithm.gpo.learn_from=reuse", "algorithm.gpo.n_mc=5")
    run.client.answer = lambda state, number: (
        "= 5" if state not in ("", "aaaa\n") else ANCHOR if (state, number) == ("", 0) else WRONG
    )
    run.prompt()
    assert sorted(run.uids().values()) == ["p"] * N + [RESET_UID] * N_REENTRY


def test_a_further_root_that_fails_is_a_row_less(start):
    run = start(*MATCHED)
    run.client.answer = lambda state, number: "= 6" if state else WRONG
    run.client.fail = lambda state, number: ConnectionError("lost") if (state, number) == ("", 3) else None
    run.prompt()
    assert len(run.uids()) == 4 and run.record["failed"] is True
    assert run.queue.tags["p"]["status"] == "finished"


def test_matched_rows_of_a_group_that_is_not_searched(start):
    run = start(*MATCHED, "algorithm.gpo.skip_groups=mixed").prompt()
    assert sorted(run.uids().values()) == ["p"] * 5 and run.record["skipped"] == "skip_groups"


def test_matched_rows_are_all_roots_when_switched_off(start):
    run = start(*MATCHED, "algorithm.gpo.enable=false")
    run.client.answer = lambda state, number: WRONG
    run.prompt()
    assert run.uids() == {f"p_{i}_0": "p" for i in range(5)} and run.record["skipped"] == "off"
