"""The page in a real headless Chromium: neither errors nor requests, the viewer, filters, keys, a phone, bad texts."""

import json
import math
import time

import pytest

from tests.chromium import find
from tests.conftest import REPOSITORY
from tests.report.arithmetic import records, truth
from verl_gpo.report.page import build_page
from verl_gpo.report.runs import read_runs

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

expect = sync_api.expect
EVIL = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> & \u202e <b>"
RESULTS = REPOSITORY / "recipes" / "arithmetic" / "results"
COUNT = 48


@pytest.fixture(scope="module")
def made():
    """Trajectories of which the first is full of markup."""
    made = [*records(40), *records(8, seed=5, search="adaptive", min_confidence=0.9, search_budget=12)]
    for number, record in enumerate(made):
        record |= {"sample_index": number, "global_step": 1 + number // 8, "uid": f"uid-{number}"}
    evil = json.loads(json.dumps(made[0]))
    evil["data_source"] = evil["uid"] = EVIL
    anchor = evil["anchors"][0]
    anchor["steps"][0]["text"] = anchor["states"][1]["continuations"][0]["text"] = EVIL
    return [evil, *made[1:]]


@pytest.fixture(scope="module")
def address(made, tmp_path_factory):
    def known(row):
        return None if "<" in row["steps"][0]["text"] else truth(row)

    runs = read_runs([f"GPO={RESULTS}/gpo", f"GPO={RESULTS}/gpo", f"GRPO={RESULTS}/grpo"])
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(build_page(made, runs, "<i>Title", truth=known), encoding="utf-8")
    return file.as_uri()


@pytest.fixture(scope="module")
def browser(address):  # built first: what makes the traces cannot run beside Playwright's loop
    chromium = find()
    if chromium is None:
        pytest.skip("no Chromium on this machine; python -m tests.chromium fetches one")
    with sync_api.sync_playwright() as playwright:
        started = chromium.launch(playwright)
        yield started
        started.close()


@pytest.fixture
def visit(browser, address):
    """Open the page: ``visit("#t=3", width=390)``. At the end it must have asked for nothing and reported no error."""
    contexts, complaints = [], []

    def open_page(mark="", width=1280, height=800, **settings):
        context = browser.new_context(viewport={"width": width, "height": height}, **settings)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("dialog", lambda dialog: complaints.append(dialog.message) or dialog.dismiss())
        page.on("request", lambda request: complaints.append(request.url) if "http" in request.url[:4] else None)
        page.goto(address + mark)
        page.wait_for_selector("html[data-ready]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def rows(page):
    return page.locator("#count").inner_text()


def shows(page, title):
    expect(page.locator("#detail h2")).to_contain_text(title + " ")


def choose(page, **filters):
    for name, value in filters.items():
        field = page.locator(f"#filters [name={name}]")
        field.select_option(value) if field.evaluate("node => node.tagName") == "SELECT" else field.fill(value)


def test_the_overview_draws_runs_beside_each_other(visit):
    page = visit()
    assert page.title() == "<i>Title" and page.locator("#top h1").inner_text() == "<i>Title"
    header = page.locator("#run-table th").all_inner_texts()
    assert header[:3] == ["", "GPO", "GRPO"]
    figures = page.locator("figure")
    count = figures.count()
    assert count >= 12
    for number in range(count):
        figures.nth(number).scroll_into_view_if_needed()
        figures.nth(number).locator("[data-drawn] svg.main-svg").first.wait_for()
    names = figures.locator("h3").all_inner_texts()
    assert "Validation accuracy against tokens" in names and "Critical steps, true and found" in names
    assert figures.nth(0).locator(".scatterlayer .trace").count() >= 4  # two lines, and the band of the two seeds


def test_the_viewer_shows_a_trajectory(visit, made):
    page = visit("#t=3")
    anchor = made[3]["anchors"][0]
    shows(page, "prompt 3")
    assert page.locator(".step pre").all_inner_texts() == [step["text"] for step in anchor["steps"]]
    assert page.locator(".lane circle").count() == sum(state["value"] is not None for state in anchor["states"])
    assert page.locator(".lane .truth").count() == 1
    assert page.locator(".step.critical").count() == (anchor["critical"] is not None)


def test_steps_are_coloured_by_their_advantage(visit, made):
    page = visit("#t=3")
    colors = page.locator(".step pre").evaluate_all("nodes => nodes.map((n) => getComputedStyle(n).backgroundColor)")
    for color, step in zip(colors, made[3]["anchors"][0]["steps"], strict=True):
        red, _, blue = (float(part) for part in color.partition("(")[2].rstrip(")").split(",")[:3])
        if abs(step["advantage"]) < 1e-9:
            assert red == blue == 0  # transparent
        else:
            assert (blue > red) == (step["advantage"] > 0)


def test_the_curve_stays_beside_its_states_when_continuations_unfold(visit, made):
    page = visit("#t=3")
    state = page.locator("[data-state='1']")
    drawn = made[3]["anchors"][0]["states"][1]["continuations"]

    def middle(selector):
        box = page.locator(selector).bounding_box()
        return box["y"] + box["height"] / 2 if box else math.nan  # none while the curve is drawn anew

    def becomes(condition):
        until = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < until
            page.wait_for_timeout(20)

    before = middle(".lane circle >> nth=2")
    state.click()
    assert page.locator(".drawn:visible .card").count() == len(drawn)
    card = page.locator(".drawn:visible .card").first
    card.locator("summary").click()
    assert card.locator("pre").inner_text() == drawn[0]["text"]
    becomes(lambda: middle(".lane circle >> nth=2") > before + 100)
    becomes(lambda: abs(middle(".lane circle >> nth=2") - middle("[data-state='2']")) < 3)
    state.click()
    assert page.locator(".drawn:visible").count() == 0


def test_markup_in_a_response_is_shown_as_text(visit):
    page = visit("#t=0")
    assert page.locator(".step pre").first.inner_text() == EVIL
    page.locator("[data-state='1']").click()
    page.locator(".drawn:visible .card summary").first.click()
    assert page.locator(".drawn:visible .card pre").first.inner_text() == EVIL
    assert EVIL in page.locator(".uid").inner_text() and page.locator("#detail img, #list img").count() == 0
    assert page.title() == "<i>Title"


def test_filters_filter(visit, made):
    page = visit("#t=0")
    assert rows(page) == f"{COUNT} of {COUNT} trajectories"
    anchors = [record["anchors"][0] for record in made]
    solved = sum(anchor["reward"] >= 0.5 for anchor in anchors)
    choose(page, outcome="solved")
    assert rows(page).startswith(f"{solved} of ") and page.locator(".row.bad").count() == 0
    choose(page, outcome="failed")
    assert rows(page).startswith(f"{COUNT - solved} of ") and page.locator(".row.good").count() == 0
    choose(page, outcome="", critical="none")
    assert rows(page).startswith(f"{sum(anchor['critical'] is None for anchor in anchors)} of ")
    choose(page, critical="", confidenceMin="0.5")
    sure = [a for a in anchors if a["critical"] and (a["critical"]["confidence"] or 0) >= 0.5]
    assert 0 < len(sure) < COUNT and rows(page).startswith(f"{len(sure)} of ")
    choose(page, confidenceMin="", trainMin="2", trainMax="3")
    assert rows(page).startswith("16 of ")
    choose(page, trainMin="", trainMax="", stepsMin="10")
    assert rows(page).startswith("0 of ") and "No trajectory passes" in page.locator("#detail").inner_text()
    page.locator("#filters [type=reset]").click()
    expect(page.locator("#count")).to_have_text(f"{COUNT} of {COUNT} trajectories")
    choose(page, text="uid-17")
    assert rows(page).startswith("1 of ")
    shows(page, "prompt 17")


def test_what_is_known_can_be_filtered_by(visit, made):
    page = visit("#t=1")
    known = [(truth({**r, **r["anchors"][0]})["true_critical"], r["anchors"][0]["critical"]) for r in made[1:]]
    right = sum(true == (found["step"] if found else None) for true, found in known)
    choose(page, critical="right")
    assert rows(page).startswith(f"{right} of ")
    choose(page, critical="wrong")
    assert rows(page).startswith(f"{COUNT - 1 - right} of ")


def test_order(visit, made):
    page = visit("#t=0")
    choose(page, sort="confidence")
    best = max((record["anchors"][0]["critical"] or {}).get("confidence") or 0 for record in made)
    assert f"· {best:.2f}" in page.locator(".row").first.inner_text()


def test_everything_can_be_done_by_keys(visit, made):
    page = visit("#t=3")
    press = page.keyboard.press
    press("j")
    shows(page, "prompt 4")
    assert page.url.endswith("#t=4") and page.locator(".row[aria-selected=true]").get_attribute("data-number") == "4"
    press("k")
    shows(page, "prompt 3")
    press("ArrowRight")
    press("ArrowRight")
    assert page.locator(".step.selected").get_attribute("data-step") == "1"
    press("Enter")
    assert page.locator(".drawn:visible").count() == 1
    press("ArrowLeft")
    assert page.locator(".step.selected").get_attribute("data-step") == "0"
    press("p")
    assert page.locator("details.prompt pre").is_visible()
    press("c")
    critical = made[3]["anchors"][0]["critical"]
    assert page.locator(".step.selected").get_attribute("data-step") == str(critical["step"] if critical else 0)
    press("?")
    assert page.locator("#help").is_visible()
    press("Escape")
    assert not page.locator("#help").is_visible()
    press("/")
    page.keyboard.type("uid-9")
    assert rows(page).startswith("1 of ")
    press("Escape")
    press("j")  # nowhere to go
    shows(page, "prompt 9")


def test_the_list_holds_what_is_visible_and_scrolls(visit):
    page = visit("#t=0", height=500)
    assert page.locator(".row").count() < 20
    page.locator("#list").evaluate("list => { list.scrollTop = 1e6; }")
    page.locator(f".row[data-number='{COUNT - 1}']").click()
    shows(page, f"prompt {COUNT - 1}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_can_read_it(visit, scheme):
    page = visit("#t=3", width=390, height=844, is_mobile=True, has_touch=True, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("#detail").is_visible() and not page.locator("#list").is_visible()
    page.locator("#next").tap()
    shows(page, "prompt 4")
    page.locator("#toggle-list").tap()
    assert page.locator("#list").is_visible()
    page.locator(".row").nth(6).tap()
    assert page.locator("#detail").is_visible() and not page.locator("#list").is_visible()
    page.locator("#tab-overview").tap()
    page.locator("[data-drawn]").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    ink, paper = page.evaluate(
        "['color', 'backgroundColor'].map((name) => getComputedStyle(document.documentElement)[name])"
    )
    assert (sum(map(int, ink[4:-1].split(","))) > sum(map(int, paper[4:-1].split(",")))) == (scheme == "dark")
