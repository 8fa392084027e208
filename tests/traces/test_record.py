"""One prompt's record: by hand, against its schema, and texts that concatenate whatever the tokens are."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.report.arithmetic import records
from verl_gpo.core.critical import CriticalStep
from verl_gpo.core.learn import ReentryGroup
from verl_gpo.core.result import GroupResult, Reentry
from verl_gpo.core.types import Continuation, ScoredContinuation, Trajectory
from verl_gpo.core.values import UNKNOWN, group_value, monte_carlo_value, observed_value
from verl_gpo.traces.record import FIELDS, SCHEMA_VERSION, schema_table, step_texts, text_behind, trace_record
from verl_gpo.traces.writer import plain


def decode(token_ids):
    """A token a byte, as byte-level vocabularies have it for rare characters."""
    return bytes(token_ids).decode("utf-8", errors="replace")


def drawn(text, reward, **about):
    return ScoredContinuation(Continuation(tuple(text.encode()), **about), reward)


ROOTS = [Trajectory(tuple(b"ab\ncd\nef"), None, 1.0), Trajectory(tuple(b"xy"), None, 0.0)]
VALUED = (drawn("11\n22", 0.0, cached_tokens=7, seconds=0.5), drawn("33", 1.0))
FRESH = (drawn("44\n55", 1.0), drawn("66", 0.0))
REENTRY = Reentry(
    0,
    (3, 6, 8),
    (group_value([1.0, 0.0]), monte_carlo_value(VALUED), UNKNOWN, observed_value(1.0)),
    CriticalStep(1, 0.25, math.nan),
    (ReentryGroup(1, tuple(b"ab\n"), FRESH, True),),
)


@pytest.fixture
def record():
    return trace_record(ROOTS, GroupResult([REENTRY]), decode, "the prompt", uid="u", global_step=3, rule="argmax")


def test_a_record_by_hand(record):
    assert record["schema"] == SCHEMA_VERSION and record["uid"] == "u" and record["prompt"] == "the prompt"
    assert record["root_rewards"] == [1.0, 0.0] and record["root_tokens"] == 10 and record["reward_range"] == [0, 1]
    (anchor,) = record["anchors"]
    assert [step["text"] for step in anchor["steps"]] == ["ab\n", "cd\n", "ef"]
    assert [(step["start"], step["end"]) for step in anchor["steps"]] == [(0, 3), (3, 6), (6, 8)]
    assert [step["advantage"] for step in anchor["steps"]] == [0.0, None, None]  # s_2 is not valued
    assert [state["value"] for state in anchor["states"]] == [0.5, 0.5, None, 1.0]
    assert [state["count"] for state in anchor["states"]] == [2, 2, 0, 0]
    assert anchor["states"][2]["low"] is None and anchor["states"][3]["low"] == anchor["states"][3]["high"] == 1.0
    assert 0 < anchor["states"][1]["low"] < 0.5 < anchor["states"][1]["high"] < 1
    assert anchor["reset_state"] == 1
    critical = plain(anchor["critical"])
    assert critical == {"step": 1, "advantage": 0.25, "confidence": None}


def test_continuations_say_what_they_were_for(record):
    drawn_at = [state["continuations"] for state in record["anchors"][0]["states"]]
    assert list(map(len, drawn_at)) == [0, 4, 0, 0]
    assert [(c["text"], c["reward"], c["valued"], c["learnt"]) for c in drawn_at[1]] == [
        ("11\n22", 0.0, True, False),
        ("33", 1.0, True, False),
        ("44\n55", 1.0, False, True),
        ("66", 0.0, False, True),
    ]
    assert [c["tokens"] for c in drawn_at[1]] == [5, 2, 5, 2]
    assert drawn_at[1][0]["cached_tokens"] == 7 and drawn_at[1][0]["seconds"] == 0.5


def test_learnt_is_what_became_a_row():
    record = trace_record(ROOTS, GroupResult([REENTRY]), decode, "p", [FRESH[1]])
    learnt = [c["text"] for c in record["anchors"][0]["states"][1]["continuations"] if c["learnt"]]
    assert learnt == ["66"]


def test_a_continuation_that_is_valued_and_learnt_from_stands_there_once():
    reused = Reentry(0, REENTRY.ends, REENTRY.values, REENTRY.critical, (ReentryGroup(1, (97,), VALUED, True),))
    states = trace_record(ROOTS, GroupResult([reused]), decode, "p")["anchors"][0]["states"]
    assert [(c["valued"], c["learnt"]) for c in states[1]["continuations"]] == [(True, True)] * 2


def test_rewards_outside_zero_and_one_widen_the_range():
    roots = [Trajectory((1,), None, -2.0), Trajectory((1,), None, 3.0)]
    assert trace_record(roots, GroupResult(), decode, "p")["reward_range"] == [-2.0, 3.0]
    assert trace_record(roots, GroupResult(), decode, "p", reward_range=[-5, 5])["reward_range"] == [-5, 5]


def test_a_skipped_prompt_and_an_empty_response_have_records():
    assert trace_record(ROOTS, GroupResult(skipped="skip_groups"), decode, "p")["anchors"] == []
    empty = Reentry(0, (), (UNKNOWN,), None)
    (anchor,) = trace_record([Trajectory((), None, 0.0)], GroupResult([empty]), decode, "p")["anchors"]
    assert anchor["steps"] == [] and anchor["critical"] is None and anchor["reset_state"] is None


def paths(value, path=""):
    """Every path of a record as FIELDS writes them, with the values that stand there."""
    if path and not path.endswith("[]"):
        yield path, value
    if isinstance(value, dict):
        for key, item in value.items():
            yield from paths(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for item in value:
            yield from paths(item, f"{path}[]")


TYPES = {"int": int, "str": str, "bool": bool, "float": (int, float), "object": dict, "any": object}


def test_records_of_the_engine_are_what_the_schema_says():
    made = plain(records(24) + records(8, 1, search="adaptive", learn_from="reuse", search_budget=24, credit="steps"))
    assert any(anchor["critical"] for record in made for anchor in record["anchors"])
    seen = set()
    for record in made:
        for path, value in paths(record):
            path = re.sub(r"usage\.(value|reentry)\b", "usage.*", path)
            if path == "usage.*":
                continue
            kind, _ = FIELDS[path]  # nothing that is not documented
            seen.add(path)
            optional, kind = kind.endswith("?"), kind.removesuffix("?")
            if value is None:
                assert optional, path
            elif kind.startswith("["):
                assert isinstance(value, list), path
            else:
                assert isinstance(value, TYPES[kind]) and (kind == "bool" or not isinstance(value, bool)), path
    never_here = {"started", "model_version", "solved_reward", "anchors[].true_critical", "anchors[].true_values"}
    # Nor is there an environment in these.
    never_here |= {"anchors[].steps[].turn", "anchors[].steps[].before", "anchors[].calls"}
    never_here |= {"anchors[].states[].continuations[].parts"}
    assert set(FIELDS) - seen == never_here  # nothing documented that is not written


def test_advantages_telescope_in_a_record():
    for record in records(6):
        for anchor in record["anchors"]:
            gains = [step["advantage"] for step in anchor["steps"]]
            root = anchor["states"][0]["value"]
            if None not in gains:
                assert math.isclose(sum(gains), anchor["reward"] - root, abs_tol=1e-9)


@given(st.text(min_size=1, max_size=12), st.data())
def test_texts_of_steps_concatenate_to_the_response(text, data):
    token_ids = text.encode()
    ends = sorted(data.draw(st.sets(st.integers(1, len(token_ids)), max_size=5)) | {len(token_ids)})
    assert "".join(step_texts(token_ids, ends, decode)) == text  # cuts within a character included


@given(st.text(max_size=10), st.text(max_size=10))
def test_text_behind_a_prefix_is_what_it_adds(prefix, text):
    assert text_behind(prefix.encode(), text.encode(), decode) == text


def test_a_decoder_that_tidies_up_still_gives_text():
    tidy = lambda ids: bytes(ids).decode().replace(" .", ".")  # noqa: E731
    assert text_behind(b"a ", b".b", tidy) in (".b", "b")


def test_the_schema_table_names_every_field_once():
    rows = schema_table().splitlines()[2:]
    assert len(rows) == len(FIELDS) == len(set(rows)) and all(f"`{path}`" in schema_table() for path in FIELDS)


def test_a_record_with_an_environment_says_who_spoke():
    """``go`` calls a tool, ``<7>`` is its answer, ``ab\ncd`` is the second turn, of two steps."""
    text, mask = b"go<7>ab\ncd", (1, 1, 0, 0, 0, 1, 1, 1, 1, 1)
    root = Trajectory(tuple(text), None, 1.0, written=mask)
    continued = ScoredContinuation(Continuation(tuple(b"x<9>y"), written=(1, 0, 0, 0, 1)), 0.0)
    values = (group_value([1.0]), monte_carlo_value([continued]), UNKNOWN, observed_value(1.0))
    result = GroupResult([Reentry(0, (2, 8, 10), values, None)])
    calls = [{"turn": 0, "tool": "look", "arguments": "{}", "answer": "7", "reward": None}]
    made = trace_record([root], result, decode, "p", calls_N=[calls])
    (anchor,) = made["anchors"]
    assert [(s["text"], s["start"], s["end"], s["turn"], s["before"]) for s in anchor["steps"]] == [
        ("go", 0, 2, 0, ""),
        ("ab\n", 5, 8, 1, "<7>"),
        ("cd", 8, 10, 1, ""),
    ]
    assert anchor["calls"] == calls and made["root_tokens"] == 7 and anchor["tokens"] == 10
    (shown,) = anchor["states"][1]["continuations"]
    assert shown["text"] == "x<9>y" and shown["tokens"] == 2
    assert shown["parts"] == [
        {"speaker": "policy", "text": "x"},
        {"speaker": "environment", "text": "<9>"},
        {"speaker": "policy", "text": "y"},
    ]


def test_a_record_without_an_environment_has_no_fields_of_turns(record):
    anchor = record["anchors"][0]
    assert "calls" not in anchor and not any("turn" in step or "before" in step for step in anchor["steps"])
    assert not any("parts" in c for state in anchor["states"] for c in state["continuations"])
