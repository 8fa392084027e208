"""Measures the size of the report page, and the seconds to build and to open it.

    python -m scripts.bench_report --out scripts/results/bench_report.json

The page has 2,000 trajectories of the size that ``bench_traces.py`` writes, and the runs of the arithmetic recipe. It
is opened in the Chromium that ``tests/chromium.py`` finds. The time to open ends for ``viewer`` when the first
trajectory is shown with its curve, for ``runs`` when their table is there, and for ``plots`` when the first figure is
drawn. The result is the smallest of several times.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from scripts.bench_traces import synthetic_records
from tests.chromium import find
from verl_gpo.report.page import build_page
from verl_gpo.report.runs import read_runs

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "recipes/arithmetic/results"
#: Number of different records. They are repeated; the compression looks back 32 KB only, so it does not notice.
DISTINCT = 100
OPENED = {"viewer": ("#t=0", ".lane circle"), "runs": ("", "#run-table td"), "plots": ("", "[data-drawn]")}


def seconds_to_open(browser: Browser, address: str, shown: str) -> float:
    """Open a page, and return the seconds until an element is there.

    Args:
        address: of the page.
        shown: CSS selector of the element.
    """
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    started = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.wait_for_selector(shown, state="attached")
    seconds = time.perf_counter() - started
    page.close()
    return seconds


def markdown(result: dict) -> str:
    """The result as the table of docs/report.md."""
    opened = result["seconds_to_open"]
    rows = {
        f"size, {result['trajectories']:,} trajectories, {result['runs']} runs": f"{result['bytes_page'] / 1e6:.1f} MB",
        "of it plotly and the runs": f"{result['bytes_of_runs_and_plots'] / 1e6:.1f} MB",
        "to open with a trajectory and its curve": f"{opened['viewer']:.2f} s",
        "to open with the runs' table": f"{opened['runs']:.2f} s",
        "to open with the first figure drawn": f"{opened['plots']:.2f} s",
        "to build": f"{result['seconds_to_build']:.1f} s",
    }
    head = f"| {result['browser']}, {result['cores']} cores | |\n|---|---:|\n"
    return head + "\n".join(f"| {name} | {value} |" for name, value in rows.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trajectories", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="write the raw result to this JSON file")
    arguments = parser.parse_args()
    chromium = find()
    if chromium is None:
        parser.error("there is no Chromium: python -m tests.chromium fetches one")
    distinct = list(synthetic_records(min(DISTINCT, arguments.trajectories)))
    records = [distinct[i % len(distinct)] | {"uid": f"{i:08x}"} for i in range(arguments.trajectories)]
    runs = read_runs([str(RESULTS / "gpo"), str(RESULTS / "grpo")])
    started = time.perf_counter()
    html = build_page(records, runs)
    build = time.perf_counter() - started
    result = {
        "cores": os.cpu_count(),
        "trajectories": arguments.trajectories,
        "runs": len(runs),
        "bytes_page": len(html),
        "bytes_of_runs_and_plots": len(build_page([], runs)),
        "seconds_to_build": build,
    }
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "report.html"
        file.write_text(html, encoding="utf-8")
        browser = chromium.launch(playwright)
        result["browser"] = f"Chromium {browser.version}"
        result["seconds_to_open"] = {
            name: min(seconds_to_open(browser, file.as_uri() + mark, shown) for _ in range(arguments.repeats))
            for name, (mark, shown) in OPENED.items()
        }
        browser.close()
    print(json.dumps(result, indent=1))
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
