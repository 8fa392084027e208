"""The page as a file: whole in itself, closed to what models write, and as large as it says."""

import base64
import gzip
import json
import re

import pytest

from tests.conftest import REPOSITORY
from tests.report.arithmetic import records, truth
from verl_gpo.report import page
from verl_gpo.report.page import BLOCK, MAX_TEXT, build_page, clip, shared_ends
from verl_gpo.report.runs import read_runs

EVIL = "</script><script>alert(1)</script><!-- <img src=x onerror=alert(1)> {{data}} {{nonce}} \u2028 \ud800"
PLOTLY = "window.Plotly = {newPlot: async () => {}};"


def unpacked(html, name):
    (text,) = re.findall(rf'<script type="text/plain" id="data-{name}">([^<]*)</script>', html)
    return gzip.decompress(base64.b64decode(text)).decode()


def data(html, name):
    return json.loads(unpacked(html, name))


@pytest.fixture(scope="module")
def made():
    return records(45)


def test_nothing_of_the_page_is_elsewhere(made):
    html = build_page(made, read_runs([str(REPOSITORY / "recipes/arithmetic/results/gpo")]))
    assert "default-src 'none'" in html
    assert "connect-src" not in html and "unsafe-eval" not in html
    for attribute in re.findall(r'\b(?:src|href|action)="([^"]*)"', html):
        assert attribute.startswith("data:"), attribute
    assert "//" not in re.sub(r"(?m)(?://.*$|https?://www\.w3\.org\S*)", "", html.partition("<body>")[0])
    assert "plotly.js" in unpacked(html, "plotly")[:2000]  # the real one


def test_every_page_has_a_nonce_of_its_own():
    nonces = [re.search(r"script-src 'nonce-([^']+)'", build_page([], []))[1] for _ in range(2)]
    assert nonces[0] != nonces[1] and len(nonces[0]) > 20


def test_what_a_model_wrote_never_stands_in_the_page(made):
    row = json.loads(json.dumps(made[0]))
    row["prompt"] = row["uid"] = row["data_source"] = EVIL
    row["anchors"][0]["steps"][0]["text"] = EVIL
    row["anchors"][0]["states"][1]["continuations"][0]["text"] = EVIL
    html = build_page([row], [], title="<b>&")
    assert "alert" not in html and "<title>&lt;b&gt;&amp;</title>" in html
    assert data(html, "block-0")[0]["steps"][0]["text"] == EVIL
    scripts = re.findall(r"<script([^>]*)>", html)
    assert all('type="text/plain"' in attributes or "nonce=" in attributes for attributes in scripts)


def test_index_and_blocks_hold_every_trajectory_in_order(made):
    html = build_page(list(reversed(made)), [], total=900, truth=truth)
    index = data(html, "index")
    assert [row["uid"] for row in index["rows"]] == [record["uid"] for record in made]
    assert index["sampled"] == [45, 900] and index["block"] == BLOCK
    rows = [row for number in range(3) for row in data(html, f"block-{number}")]
    assert [row["uid"] for row in rows] == [record["uid"] for record in made]
    assert all(row["true_critical"] == entry["true"] for row, entry in zip(rows, index["rows"], strict=True))
    assert not data(build_page(made, [], total=45), "index")["sampled"]


def test_where_nobody_knows_the_index_does_not_pretend(made):
    assert all("true" not in row for row in data(build_page(made[:3], []), "index")["rows"])


def test_long_texts_keep_both_ends_and_say_what_is_missing(made):
    row = json.loads(json.dumps(made[0]))
    row["anchors"][0]["steps"][0]["text"] = "a" * MAX_TEXT + "b" * 500
    row["anchors"][0]["states"][1]["continuations"][0]["text"] = "x" * 999 + "y"
    (shown,) = data(build_page([row], [], continuation_chars=100), "block-0")
    step, continuation = shown["steps"][0], shown["states"][1]["continuations"][0]
    assert step["cut"] == 500 and step["text"].startswith("aaa") and step["text"].endswith("bbb")
    assert continuation["cut"] == 900 and len(continuation["text"]) == 103 and continuation["text"].endswith("xy")
    assert "cut" not in shown["steps"][1]


def test_the_list_shows_the_question_and_not_the_chat_template(made):
    def listed(*questions):
        template = "<|system|>You are helpful.<|end|>\n<|user|>{}<|end|>\n<|assistant|>\n".format
        rows = [{**record, "prompt": template(q)} for record, q in zip(made, questions, strict=False)]
        return [row["text"] for row in data(build_page(rows, []), "index")["rows"]]

    assert listed("What is 1?", "What is 2?", "Why?") == ["What is 1?", "What is 2?", "Why?"]
    assert listed("What is 1?", "What is 11?") == ["What is 1?", "What is 11?"]  # whole, though they begin alike
    assert listed("Why?")[0].startswith("<|system|>")  # nothing to tell the template by
    assert shared_ends([]) == shared_ends(["a\n", "a\n"]) == (0, 0)


@pytest.mark.parametrize("limit", [1, 2, 3, 10])
def test_clipping_keeps_so_many_characters(limit):
    text, cut = clip("0123456789ab", limit)
    assert cut == 12 - limit and len(text.replace(" … ", "")) == limit
    assert clip("abc", 3) == ("abc", 0)


def test_plotly_is_there_only_where_something_is_drawn():
    empty = build_page([], [], plotly=PLOTLY)
    assert "data-plotly" not in empty and len(empty) < 60_000


def test_a_page_of_many_trajectories_stays_small(made):
    html = build_page([{**made[i % 45], "uid": f"{i}"} for i in range(2000)], [], plotly=PLOTLY)
    assert len(html) < 1_000_000 and len({row["uid"] for row in data(html, "index")["rows"]}) == 2000


def test_the_scripts_are_all_part_of_the_package():
    from importlib import resources

    here = {path.name for path in resources.files("verl_gpo.report").joinpath("web").iterdir()}
    assert here == {*page.SCRIPTS, "page.html", "page.css"}
