"""Root rows after the search: step credit, rows of the authors' own form, and rows that are left out (PODS)."""

import math

import pytest
import torch
from transfer_queue.controller import FieldMeta
from transfer_queue.storage.simple_storage import StorageUnitData

from tests.plugin.fakes import ANCHOR, N_REENTRY, PREFIX, RESET_UID, WRONG, N, ids
from verl_gpo.core.credit import StepCredit, split_credits
from verl_gpo.plugin.observe.metrics import REENTRY_TAG, TAG

STEPS = "algorithm.gpo.credit=steps"
#: The anchor's four steps end behind 5, 10, 15 and 19 tokens; its last one has the end-of-sequence token, too.
ENDS = (5, 10, 15, 19)
CREDIT = StepCredit(0.5, ENDS, (-0.5, 1.0, 0.0, 0.0), (1.0,) * 4)


def credits(run):
    plain, found = split_credits([run.queue.columns[key]["uid"] for key in sorted(run.queue.rows())])
    return plain, found


# ------------------------------------------------------------ step credit


def test_the_searched_row_carries_its_credit_and_the_others_are_what_they_were(start):
    plain, with_credit = start().prompt(), start(STEPS).prompt()
    # Of the reset state "aaaa" the search drew two failures, the re-entry right, wrong, right: V(s_1) = 2/5.
    uids, found = credits(with_credit)
    assert uids == ["p", "p", *[RESET_UID] * N_REENTRY] and found[1:] == [None] * 4
    assert found[0].ends == ENDS and found[0].total == 0.5 and set(found[0].weights) == {1.0}
    assert found[0].advantages == pytest.approx((0.4 - 0.5, 1 - 0.4, 0, 0))
    for key, row in plain.queue.rows().items():  # rewards, masks, tokens, log-probs, and every column but the group id
        other = with_credit.queue.columns[key]
        assert set(row) == set(other)
        for name in ("responses", "response_mask", "rollout_log_probs", "rm_scores"):
            assert torch.equal(row[name], other[name])
        assert (row["uid"] == other["uid"]) == (key != "p_0_0")


def test_without_reentry_there_is_credit_and_nothing_else(start):
    run = start(STEPS, "algorithm.gpo.n_reentry=0").prompt()
    assert sorted(run.queue.rows()) == ["p_0_0", "p_1_0"]
    assert credits(run) == (["p", "p"], [CREDIT, None])
    assert run.metrics["gpo/credit/responses"] == 1.0 and run.metrics["gpo/credit/segments"] == 4.0
    assert run.metrics["gpo/credit/largest_share"] == pytest.approx(2 / 3) and run.metrics["gpo/credit/weight"] == 1.0
    assert run.metrics["gpo/tokens/reentry"] == 0.0 and run.metrics["gpo/rollouts/reentry"] == 0.0
    assert run.metrics["gpo/reward/root"] == 0.5  # the outcome's


def test_roots_with_the_same_tokens_have_the_same_credit(start):
    run = start(STEPS, "algorithm.gpo.n_reentry=0")
    run.client.answer = lambda state, number: ANCHOR if state == "" else "= 6" if state == "aaaa\n" else "= 5"
    run.prompt()
    _, found = credits(run)
    assert found[0] == found[1] and found[0].advantages == (-1.0, 1.0, 0.0, 0.0)  # V(s_0) = 1


def test_a_prompt_that_is_not_searched_has_no_credit(start):
    run = start(STEPS, "algorithm.gpo.skip_groups=mixed").prompt()
    assert [row["uid"] for row in run.queue.rows().values()] == ["p", "p"]
    assert not [name for name in run.metrics if name.startswith("gpo/credit")]


def test_a_critic_gets_rewards_at_the_ends_of_the_steps(start):
    run = start(STEPS, "algorithm.gpo.n_reentry=0", "algorithm.adv_estimator=gae").prompt()
    rows = run.queue.rows()
    assert [row["uid"] for row in rows.values()] == ["p", "p"]
    expected = torch.zeros(len(ids(ANCHOR)))
    expected[4], expected[9], expected[-1] = -0.5, 1.0, 0.5
    assert torch.equal(rows["p_0_0"]["rm_scores"], expected)
    assert rows["p_0_0"]["rm_scores"].sum() == 1.0 and rows["p_1_0"]["rm_scores"].tolist() == [0.0] * len(ids(WRONG))


def test_the_mask_of_spo_needs_a_probability_below(start):
    # Log-probs are near 0: every token is more probable than 0.9, and none gets credit.
    run = start(STEPS, "algorithm.gpo.n_reentry=0", "algorithm.gpo.credit_below=0.9").prompt()
    _, found = credits(run)
    assert found[0].ends == ENDS and not any(found[0].advantages)


def test_if_credit_cannot_be_written_the_row_is_learnt_from_by_its_outcome(start):
    run = start(STEPS, "algorithm.gpo.n_reentry=0")
    run.queue.fail_on = lambda keys, fields: fields == ["uid"]
    run.prompt()
    assert [row["uid"] for row in run.queue.rows().values()] == ["p", "p"] and run.record["failed"] is True


# ------------------------------------------------------------ the authors' own form (`authors`)

# Steps as in the other tests (lines of five tokens), which are shorter than the authors' thirty tokens.
AUTHORS = (
    "algorithm.gpo.preset=authors",
    "algorithm.gpo.splitter=newline",
    "algorithm.gpo.min_step_tokens=4",
    "algorithm.gpo.n_reentry=1",
)


def authors(start, *overrides, answer=None):
    run = start(*AUTHORS, *overrides)
    run.client.answer = answer or (lambda state, number: fails_then(state, number))
    return run.prompt()


def fails_then(state, number):
    """Root 0 is right. Root 1 fails; from its second step on, "bbbb" succeeds once of two."""
    if state == "":
        return (ANCHOR, "aaaa\nbbbb\n= 6", "= 6", "= 6")[number]
    if state == "aaaa\nbbbb\n":
        return ("= 6", "x\n= 5")[number]
    return "= 6"


def test_only_the_failed_response_is_searched_and_its_row_is_replaced(start):
    run = authors(start)
    rows = run.queue.rows()
    assert sorted(rows) == ["p_0_0", "p_1_0"] and [row["uid"] for row in rows.values()] == ["p", "p"]
    # The prompt, "aaaa" and "bbbb" are the starts of its three steps: two continuations (n_mc) of each, and no others.
    assert [len(run.client.of(state)) for state in ("", "aaaa\n", "aaaa\nbbbb\n")] == [N + 2, 2, 2]
    assert len(run.client.requests) == N + 6
    assert bytes(t for t in rows["p_0_0"]["responses"].tolist() if t < 256).decode() == ANCHOR
    new = rows["p_1_0"]
    kept = list(b"aaaa\nbbbb\n")
    assert new["responses"].tolist() == kept + ids("x\n= 5")


def test_the_loss_of_a_replaced_row_is_on_all_of_it_with_the_log_probs_of_its_parts(start):
    run, plain = authors(start), authors(start, "algorithm.gpo.enable=false")
    new, old = run.queue.columns["p_1_0"], plain.queue.columns["p_1_0"]
    assert new["response_mask"].tolist() == [1] * len(new["responses"])
    assert torch.equal(new["loss_mask"], new["response_mask"])
    log_probs = new["rollout_log_probs"]
    assert torch.equal(log_probs[:10], old["rollout_log_probs"][:10]) and len(log_probs) == len(new["responses"])
    assert len(set(log_probs.tolist())) == len(log_probs)  # the fake's log-probs are all different
    assert not set(log_probs[10:].tolist()) & set(old["rollout_log_probs"].tolist())
    assert new["input_ids"].tolist() == new["prompts"].tolist() + new["responses"].tolist()
    assert new["position_ids"].tolist() == list(range(len(new["input_ids"])))
    tag = run.queue.tags["p_1_0"]
    assert (tag["response_len"], tag["seq_len"]) == (len(new["responses"]), len(new["input_ids"]))
    assert tag["status"] == "success" and REENTRY_TAG not in tag and new["session_id"] == 1
    assert set(new) == set(old)


def test_its_reward_is_that_of_the_continuation_alone(start):
    run = authors(start)
    assert run.queue.columns["p_1_0"]["rm_scores"].tolist() == [0.0] * (len(PREFIX) * 2 + len(ids("x\n= 5")) - 1) + [
        1.0
    ]
    assert sorted(run.reward.scored)[-1] == "x\n= 5" and "aaaa\nbbbb\nx\n= 5" not in run.reward.scored
    whole = authors(start, "algorithm.gpo.scored=response")
    assert "aaaa\nbbbb\nx\n= 5" in whole.reward.scored


def test_metrics_count_what_was_replaced_and_keep_the_policys_own_reward(start):
    metrics = authors(start).metrics
    assert metrics["gpo/rollouts/replaced"] == 1.0 and metrics["gpo/rollouts/root"] == 2.0
    assert metrics["gpo/reward/root"] == 0.5 and metrics["gpo/reward/reentry"] == 1.0
    assert metrics["gpo/tokens/reentry"] == 0.0 and metrics["gpo/tokens/value"] > 0


def test_a_row_from_which_nothing_succeeds_stays(start):
    run = authors(start, answer=lambda state, number: WRONG if state == "" else "= 6")
    plain = authors(start, "algorithm.gpo.enable=false", answer=lambda state, number: WRONG if state == "" else "= 6")
    for key, row in plain.queue.rows().items():
        assert torch.equal(run.queue.columns[key]["responses"], row["responses"])
    assert "gpo/rollouts/replaced" not in run.metrics and run.metrics["gpo/prompts/without_critical_step"] == 1.0


def test_two_failed_responses_with_the_same_tokens_are_replaced_by_rollouts_of_their_own(start):
    def answer(state, number):
        return (WRONG, WRONG, "= 6", "= 6", "= 6", "= 6")[number] if state == "" else ("= 6", "= 5")[number % 2]

    run = authors(start, answer=answer)
    rows = [run.queue.columns[key] for key in ("p_0_0", "p_1_0")]
    assert [row["rm_scores"].sum().item() for row in rows] == [1.0, 1.0]
    assert not torch.equal(rows[0]["rollout_log_probs"][5:], rows[1]["rollout_log_probs"][5:])
    assert run.metrics["gpo/rollouts/replaced"] == 2.0


@pytest.mark.parametrize("learn_from", ["best", "fresh"])
def test_the_random_twin_draws_one_continuation_and_takes_it_whatever_it_comes_to(start, learn_from):
    def answer(state, number):
        return (ANCHOR, WRONG)[number] if not state and number < N else "x"

    own = ("algorithm.gpo.search=random", "algorithm.gpo.n_mc=null", f"algorithm.gpo.learn_from={learn_from}")
    run = authors(start, *own, answer=answer)
    assert len(run.client.requests) == N + 1
    new = run.queue.columns["p_1_0"]
    assert new["response_mask"].tolist() == [1] * len(new["responses"]) and new["uid"] == "p"
    assert new["responses"].tolist()[-2:] == ids("x") and new["rm_scores"].sum() == 0
    assert run.metrics["gpo/rollouts/replaced"] == 1.0 and run.metrics["gpo/reward/reentry"] == 0.0


def test_a_single_response_a_prompt_with_a_critic(start):
    run = start(*AUTHORS, "algorithm.adv_estimator=gae", "actor_rollout_ref.rollout.n=1")
    run.client.answer = lambda state, number: (WRONG, "= 6", "= 6")[number] if state == "" else ("= 6", "= 5")[number]
    run.prompt()
    ((key, row),) = run.queue.rows().items()
    assert key == "p_0_0" and row["rm_scores"].sum() == 1.0 and run.metrics["gpo/rollouts/replaced"] == 1.0


# ------------------------------------------------------------ rows left out (`pods`)

UNREAD = ("algorithm.gpo.n_mc=null", "algorithm.gpo.n_reentry=null")  # of the other tests
PODS = ("algorithm.gpo.preset=pods", "algorithm.gpo.kept_rows=2", *UNREAD)


def test_of_five_rollouts_the_two_that_differ_most_are_trained_on(start):
    run = start(*PODS, "actor_rollout_ref.rollout.n=5")
    run.client.answer = lambda state, number: ANCHOR if number == 3 else WRONG
    run.prompt()
    assert run.uids() == {"p_0_0": "p", "p_3_0": "p"} and run.queue.tags["p"]["status"] == "finished"
    metrics = run.metrics
    assert metrics["gpo/rollouts/left_out"] == 3.0 and metrics["gpo/rollouts/root"] == 5.0
    assert metrics["gpo/reward/root"] == 0.2  # of all that were sampled
    assert run.record["root_tokens"] == 4 * len(ids(WRONG)) + len(ids(ANCHOR))


def test_the_record_is_on_a_row_that_is_kept(start):
    run = start(*PODS, "actor_rollout_ref.rollout.n=5")
    run.client.answer = lambda state, number: ANCHOR if number < 4 else WRONG
    run.prompt()
    assert sorted(run.queue.rows()) == ["p_0_0", "p_4_0"]
    assert [key for key, tag in run.queue.tags.items() if TAG in tag] == ["p_0_0"]
    run = start(*PODS, "actor_rollout_ref.rollout.n=5")
    run.client.answer = lambda state, number: WRONG if number < 4 else ANCHOR
    assert math.isclose(run.prompt().metrics["gpo/reward/root"], 0.2)


def test_switched_off_it_leaves_out_nothing(start):
    run = start(*PODS, "actor_rollout_ref.rollout.n=5", "algorithm.gpo.enable=false").prompt()
    assert len(run.queue.rows()) == 5 and "gpo/rollouts/left_out" not in run.metrics


# ------------------------------------------------------------ TransferQueue's own books


def test_the_queue_s_books_take_a_row_again_with_another_length_and_forget_one_that_is_cleared():
    """The classes that keep the shapes and the values of rows; tests/e2e/test_credit.py has the queue as a whole."""
    first = torch.zeros(4)
    books = FieldMeta({0}, dtype=first.dtype, shape=(4,), is_nested=False, is_non_tensor=False)
    storage = StorageUnitData()
    storage.put_data({"responses": [first]}, [0])

    def put(row, length):
        value = torch.zeros(length)
        books.update({"dtype": value.dtype, "shape": (length,), "is_nested": False, "is_non_tensor": False}, [row])
        storage.put_data({"responses": [value]}, [row])

    def shapes(rows):
        schema = books.to_batch_schema(rows)
        return [tuple(shape) for shape in schema.get("per_sample_shapes") or [schema["shape"]] * len(rows)]

    put(1, 4)
    put(1, 6)  # replaced
    assert shapes([0, 1]) == [(4,), (6,)]
    assert [len(value) for value in storage.get_data(["responses"], [0, 1])["responses"]] == [4, 6]
    put(1, 5)
    assert shapes([0, 1]) == [(4,), (5,)]
    books.remove_samples([0])  # left out
    storage.clear([0])
    assert shapes([1]) == [(5,)] and len(storage.get_data(["responses"], [1])["responses"][0]) == 5
