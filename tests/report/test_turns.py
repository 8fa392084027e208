"""Trajectories of several turns on the page: who speaks, calls and answers folded, values between turns."""

import pytest

from recipes.agents.chat import agent_tokenizer
from recipes.agents.task import Building, Problem, Walk, call
from tests.chromium import find
from verl_gpo.report.page import MAX_TEXT, body, build_page, clipped_continuation
from verl_gpo.traces.record import SCHEMA_VERSION

PROBLEM = Problem(Building(78749, "!-"))
LONG = "x" * 200


def record():
    """A walk of two moves: the first turn is critical, the second one has a long argument, the third answers."""
    tokenizer, walk = agent_tokenizer(), Walk(*PROBLEM.building)

    def written(message):
        return tokenizer.apply_chat_template([message], tokenize=False).removesuffix("\n")

    door = walk.room.right_door
    answers = [walk.call("walk", {"door": door}), walk.call("walk", {"door": LONG})]
    texts = [written(call("walk", door=one)) for one in (door, LONG)] + ["The sum: 7<|im_end|>"]
    before = ["", *(f"\n<tool_response>{answer}</tool_response>\n" for answer in answers)]
    steps, end = [], 0
    for turn, (text, between) in enumerate(zip(texts, before, strict=True)):
        start, end = end + len(between), end + len(between) + len(text)
        step = {"text": text, "start": start, "end": end, "advantage": (0.6, 0.0, -1.0)[turn]}
        steps.append(step | {"turn": turn, "before": between})
    continuation = {"text": texts[1] + before[2] + texts[2], "reward": 1.0, "tokens": 9, "valued": True}
    continuation |= {"learnt": True, "cached_tokens": None, "seconds": 0.5}
    speakers = (("policy", texts[1]), ("environment", before[2]), ("policy", texts[2]))
    continuation["parts"] = [{"speaker": who, "text": text} for who, text in speakers]
    values = ((0.4, 8, []), (1.0, 4, [continuation]), (1.0, 4, []), (0.0, 0, []))
    states = [
        {
            "value": value,
            "low": max(value - 0.2, 0),
            "high": min(value + 0.2, 1),
            "count": count,
            "continuations": drawn,
        }
        for value, count, drawn in values
    ]
    arguments = [f'{{"door": "{one}"}}' for one in (door, LONG)]
    calls = [
        {"turn": turn, "tool": "walk", "arguments": arguments[turn], "answer": answers[turn], "reward": reward}
        for turn, reward in ((0, 0.5), (1, 0.0))
    ]
    usage = {"requests": 4, "tokens": 36, "seconds": 2.0}
    anchor = {"anchor": 0, "reward": 0.0, "tokens": end, "steps": steps, "calls": calls, "states": states}
    anchor |= {"critical": {"step": 0, "advantage": 0.6, "confidence": 0.9}, "reset_state": 0, "true_critical": 0}
    about = {"schema": SCHEMA_VERSION, "uid": "u", "global_step": 1, "sample_index": 0, "reward_range": [0.0, 1.0]}
    about |= {"prompt": PROBLEM.prompt, "root_rewards": [0.0, 1.0], "root_tokens": end, "skipped": None}
    return about | {"effort": "search", "cpu_seconds": 0.0, "usage": {"value": usage}, "anchors": [anchor]}


def test_parts_are_clipped_to_the_text_of_their_continuation():
    parts = [{"speaker": "policy", "text": "abcdefgh"}, {"speaker": "environment", "text": "ijkl"}]
    parts.append({"speaker": "policy", "text": "mnopqrst"})
    item = {"text": "abcdefghijklmnopqrst", "parts": parts}
    short = clipped_continuation(item, 12)
    assert (short["text"], short["cut"]) == ("abcdefgh … qrst", 8)
    assert [(part["speaker"], part["text"]) for part in short["parts"]] == [
        ("policy", "abcdefgh"),
        ("environment", " … "),
        ("policy", "qrst"),
    ]
    one = clipped_continuation({"text": "abcdefghij", "parts": [{"speaker": "policy", "text": "abcdefghij"}]}, 6)
    assert [part["text"] for part in one["parts"]] == [one["text"]] == ["abcd … ij"]
    assert clipped_continuation(item, 20) == item
    for limit in range(3, 20):
        short = clipped_continuation(item, limit)
        assert "".join(part["text"] for part in short["parts"]) == short["text"]


def test_a_call_without_an_answer_is_shown_as_one():
    trajectory = {**record(), **record()["anchors"][0]}
    trajectory["calls"] = [{**trajectory["calls"][0], "answer": None}, {**trajectory["calls"][1], "answer": "x" * 9000}]
    calls = body(trajectory, 300)["calls"]
    assert calls[0]["answer"] == "" and len(calls[1]["answer"]) == MAX_TEXT + 3


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = find()
    if chromium is None:
        pytest.skip("no Chromium on this machine; python tests/chromium.py gets one")
    file, complaints = tmp_path_factory.mktemp("turns") / "report.html", []
    file.write_text(build_page([record()], [], plotly=""), encoding="utf-8")
    with sync_api.sync_playwright() as playwright:
        browser = chromium.launch(playwright)
        opened = browser.new_page(viewport={"width": 1280, "height": 900})
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.goto(file.as_uri() + "#t=0")
        opened.wait_for_selector(".steps")
        yield opened
        browser.close()
    assert complaints == []


def test_each_turn_says_who_speaks(page):
    steps = record()["anchors"][0]["steps"]
    assert page.locator(".step .speaker").all_inner_texts() == [f"policy · turn {k}" for k in range(3)]
    assert page.locator(".environment .speaker").all_inner_texts() == ["environment"] * 2
    assert page.locator(".step pre").nth(0).inner_text() == steps[0]["text"]
    # From top to bottom: a turn, the environment's answer, the value of the state that this leads to, the next turn.
    order = page.locator(".steps > *:not(svg)").evaluate_all("nodes => nodes.map((n) => n.className.split(' ')[0])")
    assert order == ["state-row", "step", *["environment", "state-row", "step"] * 2, "state-row"]


def test_calls_and_answers_are_folded(page):
    calls = record()["anchors"][0]["calls"]
    first = page.locator(".environment").nth(0)
    assert calls[0]["answer"] in first.locator("summary").inner_text()
    assert calls[0]["arguments"] in first.locator("summary").inner_text() and "reward 0.50" in first.inner_text()
    assert not first.locator("pre").first.is_visible()
    first.locator("summary").click()
    assert first.locator("pre").first.is_visible()
    assert first.locator("pre").all_inner_texts() == [
        f"walk {calls[0]['arguments']}\n{calls[0]['answer']}",
        record()["anchors"][0]["steps"][1]["before"].removeprefix("\n"),
    ]
    second = page.locator(".step").nth(1)
    assert LONG not in second.inner_text() and "200" not in second.locator("summary").inner_text()
    assert f"arguments of walk, {len(calls[1]['arguments'])} characters" in second.locator("summary").inner_text()
    second.locator("summary").click()
    assert LONG in second.inner_text()


def test_the_critical_turn_is_marked(page):
    assert page.locator(".step.critical").get_attribute("data-step") == "0"
    assert page.locator(".step.critical .pill.critical").inner_text().startswith("critical turn · A +0.60")
    assert page.locator(".step.true .pill.true").inner_text() == "true critical turn"
    assert "critical turn\n0 of 3, confidence 0.90" in page.locator(".facts").inner_text()


def test_a_continuation_tells_its_speakers_apart(page):
    page.locator("[data-state='1']").click()
    page.locator(".drawn:visible .card summary").click()
    parts = page.locator(".drawn:visible .card pre span")
    assert parts.evaluate_all("nodes => nodes.map((n) => n.className)") == ["by-policy", "by-environment", "by-policy"]
    parts_written = record()["anchors"][0]["states"][1]["continuations"][0]["parts"]
    assert len(parts_written) == 3 and parts.nth(1).inner_text().strip() == parts_written[1]["text"].strip()
