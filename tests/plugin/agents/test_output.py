"""verl's output with what continues it: the same fields are set, and nothing of it is stored."""

from verl.experimental.agent_loop.agent_loop import AgentLoopOutput

from verl_gpo.plugin.agents.output import ReenterableOutput, reentry_of


def output():
    return AgentLoopOutput(
        prompt_ids=[1], response_ids=[2, 3], response_mask=[1, 0], num_turns=4, metrics={}, extra_fields={"a": 1}
    )


def test_it_is_the_same_output_for_verl():
    plain, reentry = output(), object()
    made = ReenterableOutput.of(plain, reentry)
    assert isinstance(made, AgentLoopOutput) and made.model_fields_set == plain.model_fields_set
    ours, theirs = made.as_dict(), plain.as_dict()
    assert set(ours) == set(theirs) and "reentry" not in str(ours)
    assert all(str(ours[name]) == str(theirs[name]) for name in theirs)


def test_what_continues_it():
    plain, reentry = output(), object()
    made = ReenterableOutput.of(plain, reentry)
    assert reentry_of(made) is reentry and reentry_of(plain) is None and reentry_of([plain]) is None
    assert reentry_of(made.model_copy(update={"num_turns": 5})) is reentry
    assert not made.answer_did_not_fit and ReenterableOutput.of(plain, answer_did_not_fit=True).answer_did_not_fit
