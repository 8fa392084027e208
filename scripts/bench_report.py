"""How large the report is, and how long it takes to build and to open.

    python -m scripts.bench_report --out scripts/results/bench_report.json

2,000 trajectories of the size that ``bench_traces.py`` writes, beside the arithmetic recipe's runs, in the Chromium
that ``chromium.py`` finds. Opening ends: ``viewer`` when the first trajectory is shown with its curve, ``runs`` when
their table stands, ``plots`` when the first is drawn. The best of several times.
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
#: Records that differ; a compressor sees 32 KB back, so that repeating them gains it nothing.
DISTINCT = 100
OPENED = {"viewer": ("#t=0", ".lane circle"), "runs": ("", "#run-table td"), "plots": ("", "[data-drawn]")}


def seconds_to_open(browser: Browser, address: str, shown: str) -> float:
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
        parser.error("no Chromium; get one by python -m tests.chromium")
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
