"""A continuation is what verl's own loop would have done from there: token for token, mask for mask."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.plugin.agents.world import (
    ECHO,
    Counter,
    Policy,
    Replayed,
    go,
    loop,
    parts,
    roll_out,
    sampler,
    stock,
    turns_of,
    written_positions,
)
from verl_gpo.plugin.agents.output import ReenterableOutput, reentry_of


def tools():
    return [Counter(), ECHO, Replayed("log")]


def continued(policy, root, kept, max_tokens):
    made = sampler(policy, root)
    return go(made.sample(tuple(root.response_ids[:kept]), max_tokens, 7))


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(60, 500), st.sampled_from(["left", "middle", "right"]), st.data())
def test_a_branch_is_what_verls_own_loop_does(seed, length, side, data):
    given_settings = {"response_length": length, "tool_response_truncate_side": side, "max_assistant_turns": 4}
    expected = go(roll_out(stock(Policy(seed), tools(), **given_settings)))
    kit = tools()
    root = go(roll_out(loop(Policy(seed), kit, **given_settings)))
    assert parts(root) == parts(expected)
    assert root.model_fields_set == expected.model_fields_set and reentry_of(root).reason is None
    kept = data.draw(st.sampled_from(written_positions(root)))
    policy = Policy(seed)
    made = continued(policy, root, kept, length - kept)
    assert list(made.token_ids) == expected.response_ids[kept:]
    assert list(made.written) == expected.response_mask[kept:]
    assert list(made.log_probs) == expected.response_logprobs[kept:]
    assert parts(made.source) == parts(expected)
    # Nothing before the state was generated again, and the tokens were sent as they were.
    whole = [*root.prompt_ids, *root.response_ids]
    assert policy.requests[0][1] == whole[: len(root.prompt_ids) + kept]


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 120), st.data())
def test_a_shorter_bound_ends_a_branch_where_a_loop_with_that_bound_ends(seed, most, data):
    root = go(roll_out(loop(Policy(seed), tools())))
    kept = data.draw(st.sampled_from(written_positions(root)))
    most = min(most, 400 - kept)
    made = continued(Policy(seed), root, kept, most)
    expected = go(roll_out(stock(Policy(seed), tools(), response_length=kept + most)))
    assert list(made.token_ids) == expected.response_ids[kept:] and len(made.token_ids) <= most
    assert list(made.written) == expected.response_mask[kept:]
    # If the bound did not end it, it ended where it ends with more room.
    if not made.bounded and len(made.token_ids) < most:
        assert list(made.token_ids) == root.response_ids[kept:]


def test_a_dialogue_by_hand():
    """Two turns: the second is cut in its middle, and what is kept and what follows are parsed as one call."""
    first = '<tool_call>{"name": "count", "arguments": {"by": 3}}</tool_call>'
    second = 'so <tool_call>{"name": "count", "arguments": {"by": 4}}</tool_call>'

    def answer(head):
        return {0: first, 1: second}.get(head.count("[tool]"), "done")

    kit = [Counter()]
    root = go(roll_out(loop(Policy(answer=answer), kit)))
    assert turns_of(root) == [
        (True, first + "<end>"),
        (False, "[tool]count=3 ...|[assistant]"),
        (True, second + "<end>"),
        (False, "[tool]count=7 .......|[assistant]"),
        (True, "done<end>"),
    ]
    assert root.num_turns == 6 and root.extra_fields["tool_rewards"] == [0.75, 1.75]
    states = reentry_of(root).states
    at = len(first) + 1 + len("[tool]count=3 ...|[assistant]")
    assert [state.tokens for state in states][:2] == [0, at]
    assert [state.environments for state in states] == [{"count": {"number": n}} for n in (0, 3, 7)]
    # In the middle of the second turn, within the call itself.
    kept = at + second.index('"arguments"')
    policy = Policy(answer=answer)
    made = continued(policy, root, kept, 400 - kept)
    assert parts(made.source) == parts(root) and made.source.extra_fields["seen"] == [3, 7]
    assert [len(ids) for _, ids, _ in policy.requests] == [
        len(root.prompt_ids) + kept,
        len(root.prompt_ids) + states[2].tokens,
    ]
    assert made.context_tokens == sum(len(ids) for _, ids, _ in policy.requests) and made.cached_tokens == 2
    assert reentry_of(root).calls == [
        {
            "turn": turn,
            "tool": "count",
            "arguments": f'{{"by": {by}}}',
            "answer": f"count={n} " + "." * n,
            "reward": n / 4,
        }
        for turn, by, n in ((0, 3, 3), (1, 4, 7))
    ]


def test_turns_are_counted_from_where_they_stood():
    call = '<tool_call>{"name": "count", "arguments": {"by": 1}}</tool_call>'
    for limits in ({"max_assistant_turns": 3}, {"max_user_turns": 2, "max_assistant_turns": None}):
        root = go(roll_out(loop(Policy(answer=lambda head: call), [Counter()], **limits)))
        states = reentry_of(root).states
        for state in states:
            made = continued(Policy(answer=lambda head: call), root, state.tokens, 400 - state.tokens)
            assert made.source.num_turns == root.num_turns
            assert [*root.response_ids[: state.tokens], *made.token_ids] == root.response_ids
        assert len(states) == 3


def test_branches_of_one_state_do_not_disturb_each_other_or_the_root():
    """Ten at once, which count differently: each has an environment of its own, in the state's state."""
    by = iter(range(1, 11))

    def answer(head):
        turn = head.count("[tool]")
        if turn == 0:
            return '<tool_call>{"name": "count", "arguments": {"by": 5}}</tool_call>'
        return f'<tool_call>{{"name": "count", "arguments": {{"by": {next(by)}}}}}</tool_call>' if turn == 1 else "end"

    kit = [Counter()]
    root = go(roll_out(loop(Policy(answer=answer), kit)))
    state = reentry_of(root).states[1]
    by = iter(range(1, 11))

    async def all_at_once():
        made = sampler(Policy(answer=answer), root)
        prefix = tuple(root.response_ids[: state.tokens])
        return await asyncio.gather(*(made.sample(prefix, 300, seed) for seed in range(10)))

    seen = [made.source.extra_fields["seen"] for made in go(all_at_once())]
    assert sorted(seen) == [[5, 5 + n] for n in range(1, 11)]
    assert root.extra_fields["seen"] == [5, 6]  # unchanged
    assert state.environments == {"count": {"number": 5}} and state.extra_fields["seen"] == [5]


def test_the_test_fails_when_restore_is_left_out():
    """The same comparison with a tool whose restore does nothing: the continuation counts from zero."""

    class Forgets(Counter):
        def restore(self, agent_data, state): ...

    call = '<tool_call>{"name": "count", "arguments": {"by": 2}}</tool_call>'
    outcomes = {}
    for made in (Counter, Forgets):
        policy = Policy(answer=lambda head: call if head.count("[tool]") < 2 else "end")
        root = go(roll_out(loop(policy, [made()])))
        kept = reentry_of(root).states[1].tokens
        outcomes[made] = continued(policy, root, kept, 300).source.extra_fields["seen"] == root.extra_fields["seen"]
    assert outcomes == {Counter: True, Forgets: False}


def test_without_need_no_state_is_kept():
    root = go(roll_out(loop(Policy(1), tools()), keep=False))
    assert not isinstance(root, ReenterableOutput) and reentry_of(root) is None


def test_a_loop_that_rewrites_what_was_said_is_not_continued():
    class Shortens(type(loop(Policy(1), []))):
        async def _handle_processing_tools_state(self, agent_data):
            state = await super()._handle_processing_tools_state(agent_data)
            agent_data.prompt_ids = [agent_data.prompt_ids[0] + 1, *agent_data.prompt_ids[1:]]
            return state

    call = '<tool_call>{"name": "count", "arguments": {"by": 2}}</tool_call>'
    policy = Policy(answer=lambda head: "end" if "count" in head else call)
    root = go(roll_out(loop(policy, [Counter()], Shortens)))
    assert reentry_of(root).reason == "rewritten"


def test_a_position_at_which_the_policy_does_not_write_is_refused():
    call = '<tool_call>{"name": "count", "arguments": {"by": 2}}</tool_call>'
    policy = Policy(answer=lambda head: "end" if "[tool]" in head else call)
    root = go(roll_out(loop(policy, [Counter()])))
    answered = root.response_mask.index(0)
    for kept in (answered, len(root.response_ids)):
        with pytest.raises(ValueError, match=f"does not behind token {kept}"):
            go(reentry_of(root).branch(kept, 10, None, "n", {}))
