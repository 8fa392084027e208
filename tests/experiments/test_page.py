"""From the raw rows of experiments to the pages: what is read, what is refused, tables by hand, figures."""

from dataclasses import replace

import pytest

from scripts import evidence
from scripts.evidence_figures import accuracy_over_tokens, panels_of
from scripts.evidence_measures import groups, hits, kinds, overhead, status
from scripts.evidence_rows import EVALUATIONS, RUNS, methods, optimizer_part, read_results, without_optimizer
from scripts.evidence_tables import (
    at_equal,
    at_the_end,
    comparison,
    final,
    opponents,
    sensitivity,
    summary,
    to_reach,
)
from tests.conftest import REPOSITORY
from tests.evidence_samples import a_run, write


def body(table):
    """Cells of the lines under the head."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


# ---- reading ----


def test_rows_are_read_as_they_were_written(tmp_path):
    runs = [a_run(), a_run("gpo_fast", 1, hits=3.0, chosen=4.0, branch_mixed=0.25, root_mixed=None, curve=())]
    assert read_results(write(tmp_path, runs)) == runs


def test_without_files_there_are_no_runs(tmp_path):
    assert read_results(tmp_path / "none") == []


def test_evaluations_of_a_run_that_is_not_finished_are_left_out(tmp_path):
    write(tmp_path, [a_run(), a_run(seed=1)])
    lines = (tmp_path / RUNS).read_text().splitlines(keepends=True)
    (tmp_path / RUNS).write_text("".join(lines[:2]))
    assert [run.seed for run in read_results(tmp_path)] == [0]


@pytest.mark.parametrize(
    ("file", "before", "after", "said"),
    [
        (RUNS, ",cpu,", ",,", "line 2: device='': must be a text"),
        (RUNS, "late12,grpo,0,", "late12,grpo,zero,", "line 2: seed='zero': must be a whole number"),
        (RUNS, "late12,grpo,0,10,", "late12,grpo,0,10.5,", "line 2: training_steps='10.5': must be a whole number"),
        (RUNS, ",0.4,0.6", ",0.4,60", "line 2: high='60': must be a number"),
        (RUNS, ",0.4,0.6", ",nan,0.6", "line 2: low='nan': must be a number"),
        (RUNS, "seconds_gen", "seconds_sampling", "has no column seconds_gen"),
        (EVALUATIONS, ",1000.0,", ",0.0,", "tokens and seconds are of the whole run so far"),
        (EVALUATIONS, "grpo,0,1,", "grpo,0,0,", "has two rows of training step 0"),
    ],
)
def test_what_the_runner_does_not_write_is_refused(tmp_path, file, before, after, said):
    path = write(tmp_path, [a_run()]) / file
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    with pytest.raises(ValueError, match=r"\.csv") as error:
        read_results(tmp_path)
    assert said in str(error.value) and str(path) in str(error.value)


def test_a_run_cannot_be_there_twice(tmp_path):
    with pytest.raises(ValueError, match="protocol late12 grpo 0 has more than one row"):
        read_results(write(tmp_path, [a_run(curve=()), a_run(curve=())]))


def test_runs_of_a_regime_and_seed_start_from_one_model(tmp_path):
    one, other = a_run("grpo"), a_run("random", curve=((0, 0.3), (1000, 0.5)))
    write(tmp_path, [one, other])
    with pytest.raises(ValueError, match=r"late12 0: runs started from models of different accuracies.*\(0.2, 0.3\)"):
        read_results(tmp_path)
    write(
        tmp_path,
        [one, a_run("random", seed=1, curve=((0, 0.3), (1000, 0.5))), replace(other, regime="rare8", points=())],
    )
    assert len(read_results(tmp_path)) == 3


def test_methods_stand_in_one_order_with_variants_behind():
    names = ["oracle", "gpo_fast:n_mc=8", "new", "gpo_fast", "grpo"]
    assert methods([a_run(name) for name in names]) == ["grpo", "gpo_fast", "gpo_fast:n_mc=8", "oracle", "new"]


# ---- comparisons ----


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("grpo", []),
        ("ppo", []),
        ("gpo_ppo", ["ppo"]),
        ("grpo:mini_batch=4", []),
        ("random", ["grpo", "grpo:mini_batch=4", "grpo_tokens"]),
        ("gpo_fast", ["grpo", "grpo:mini_batch=4", "grpo_tokens", "grpo_tokens:gpo_fast", "random", "ppo"]),
        ("gpo_fast:n_mc=8", ["grpo", "grpo:mini_batch=4", "grpo_tokens", "random", "ppo"]),
    ],
)
def test_opponents(method, expected):
    names = ["grpo", "grpo:mini_batch=4", "grpo_tokens", "grpo_tokens:gpo_fast", "random", "gpo_fast"]
    names += ["ppo", "gpo_ppo"]
    assert opponents(method, names) == expected


def test_opponents_have_the_same_optimizer():
    names = ["grpo_tokens", "grpo:n=4", "grpo:n=4:cosine=2e-3", "grpo:cosine=4e-3", "random:cosine=2e-3", "informative"]
    assert opponents("informative:cosine=2e-3", names) == ["grpo:n=4:cosine=2e-3", "random:cosine=2e-3"]
    assert opponents("informative", names) == ["grpo_tokens", "grpo:n=4"]


@pytest.mark.parametrize(
    ("method", "optimizer", "rest"),
    [
        ("grpo:n=4:cosine=4e-3:clip=0.1", "cosine=4e-3:clip=0.1", "grpo:n=4"),
        ("gpo_fast:lr=1e-3", "lr=1e-3", "gpo_fast"),
        ("gpo_fast:even", "", "gpo_fast:even"),
        ("grpo", "", "grpo"),
    ],
)
def test_what_a_name_says_of_the_optimizer(method, optimizer, rest):
    assert (optimizer_part(method), without_optimizer(method)) == (optimizer, rest)


def fast(seed):
    final = 0.51 + seed / 100
    return a_run("gpo_fast", seed, final, curve=((0, 0.2), (1000, 0.6), (2000, final)), seconds=50.0)


#: GRPO ends at .5, .5, .5; gpo_fast at .51, .52, .53 with twice the tokens, half the seconds of a machine alike.
PAIR = [*(a_run(seed=seed) for seed in range(3)), *map(fast, range(3))]


def test_at_the_end_by_hand():
    # Mean 2 points, deviation 1: 4.303 / sqrt(3) = 2.5 to either side; p as in the statistics' test.
    assert body(at_the_end(PAIR)) == [
        ["late12", "gpo_fast", "grpo", "3", "+2.0 [-0.5, +4.5]", "0.074", "2.00", "1.00", "0.50"]
    ]


def test_at_equal_tokens_by_hand():
    (row,) = body(at_equal(PAIR))
    # At 1000 tokens: .6 against .5 in every seed, so there is an interval of no width and no p.
    assert row == ["late12", "gpo_fast", "grpo", *(["3", "1,000", "+10.0 [+10.0, +10.0]", "none"] * 2)]


def test_tokens_to_reach_by_hand():
    # .5 of the way from .2 to .6 is at 750, of 1000.
    assert body(to_reach(PAIR)) == [["late12", "gpo_fast", "grpo", "3 of 3", "0.75 [0.75, 0.75]", "0.75 [0.75, 0.75]"]]
    low = [replace(run, points=a_run(curve=((0, 0.2), (2000, 0.4))).points) for run in PAIR[3:]]
    assert body(to_reach([*PAIR[:3], *low])) == [["late12", "gpo_fast", "grpo", "0 of 3", "≥ 2.00", "≥ 2.00"]]


def test_final_says_of_what_an_interval_is():
    rows = body(final([*PAIR[3:], a_run("random", 7, 0.4, learning_rate=3e-4)]))
    assert rows[0][:4] == ["late12", "random", "1", "40.0 [30.0, 50.0] (problems)"] and rows[0][6] == "0.0003"
    assert rows[1][:4] == ["late12", "gpo_fast", "3", "52.0 [49.5, 54.5]"]
    assert rows[1][4:] == ["10", "16", "1", "2,000", "1,280", "10", "50"]


def test_an_incomplete_grid_still_gives_tables():
    runs = [PAIR[0], PAIR[4], a_run("random", 0, regime="spread6", curve=())]
    assert body(at_the_end(runs))[0][3:6] == ["0", "no shared seed", "none"]
    assert body(at_equal(runs))[0][3:] == ["0", "none", "none", "none"] * 2
    assert body(to_reach(runs))[0][3:] == ["none", "none", "none"]
    assert body(status(runs))[0][3:] == ["2", "3", "2", "3 of 12"]
    one = body(at_the_end([PAIR[0], PAIR[3]]))
    assert one[0][3:6] == ["1", "+1.0 (no interval)", "none"]


def test_seconds_of_different_machines_are_not_compared():
    runs = [replace(run, cores=64) if run.method == "gpo_fast" else run for run in PAIR]
    assert body(at_the_end(runs))[0][-3:] == ["2.00", "1.00", "none"]
    assert body(at_equal(runs))[0][7:] == ["0", "none", "none", "none"]
    assert body(overhead(runs))[1][-3:] == ["none", "1.00 [1.00, 1.00]", "none"]


def test_a_variant_is_compared_with_its_method_in_its_own_grid_or_in_tokens():
    tokens = [replace(run, grid="tokens") for run in PAIR]
    variant = [a_run("gpo_fast:n_mc=8", seed, 0.6, grid="sensitivity") for seed in (0, 1)]
    (row,) = body(sensitivity([*PAIR[:-1], a_run("gpo_fast", 0, 0.1), *variant, *tokens]))
    assert row[:4] == ["late12", "gpo_fast", "n_mc=8", "2"] and row[4].startswith("+8.5 [") and row[6] == "0.50"
    (own,) = body(sensitivity([*tokens, *variant, a_run("gpo_fast", 0, 0.7, grid="sensitivity")]))
    assert own[4].startswith("-1.0 [")  # seed 0: -10 in its own grid, which comes first; seed 1: +8 from the other
    (other,) = body(sensitivity([replace(run, prompts=8) for run in variant] + tokens))
    assert other[3:5] == ["0", "no shared seed"]


def test_the_summary_has_every_headline_method_with_its_cost():
    rows = body(summary([*PAIR, *(replace(run, grid="tokens") for run in PAIR)]))
    assert rows[0][:3] == ["protocol", "late12", "50.0, 3 seeds"]
    assert rows[0][5] == ("+2.0 [-0.5, +4.5]<br>p 0.074, 3 seeds<br>2.00 x tokens<br>there at 0.75 [0.75, 0.75]")
    assert rows[0][3] == rows[0][4] == rows[0][6] == rows[0][7] == ""
    assert rows[1] == ["tokens", "late12", "", "", "", "no shared seed", "", "", ""]


def test_half_a_mini_batch_has_one_column_whatever_it_was_half_of():
    halves = [a_run(), a_run("grpo:mini_batch=2", accuracy=0.7)]
    (row,) = body(summary(halves))
    assert row[3].startswith("+20.0 (no interval)<br>")


# ---- measures ----


def test_overhead_by_hand():
    plain = a_run(seconds=100.0, seconds_gen=40.0, seconds_old_log_prob=10.0, seconds_update_actor=20.0)
    ours = a_run("gpo_fast", seconds=150.0, seconds_gen=160.0, rows=1920.0, seconds_update_critic=5.0)
    first, second = body(overhead([plain, ours]))
    assert first == ["protocol", "late12", "grpo", "1", "10.00", "4.00", "1.00", "2.00", "0.00", "0.10", "2.90",
                     "1.00 (no interval)", "1.00 (no interval)", "1.00 (no interval)"]  # fmt: skip
    assert second[4:] == ["15.00", "16.00", "0.10", "0.10", "0.50", "0.10", "0.00",
                          "1.50 (no interval)", "1.50 (no interval)", "1.00 (no interval)"]  # fmt: skip


def test_hits_are_counted_over_seeds_with_wilsons_interval():
    runs = [a_run("gpo_fast", seed, hits=hits, chosen=5.0) for seed, hits in enumerate((5.0, 4.0))]
    # Wilson's of 9/10 is .596 to .982 (Brown, Cai & DasGupta 2001 give the formula; computed by hand).
    assert body(hits([a_run(), *runs])) == [["protocol", "late12", "gpo_fast", "2", "9 of 10", "0.90 [0.60, 0.98]"]]
    assert hits([a_run()]) == "No rows yet."


def test_lines_by_kind_are_those_of_the_first_and_the_last_evaluation():
    runs = [a_run("gpo_fast", seed, curve=((0, 0.2), (500, 0.9), (1000, last))) for seed, last in enumerate((0.4, 0.6))]
    runs[1] = replace(runs[1], points=tuple(replace(point, easy_step=None) for point in runs[1].points))
    shares = ["1.000", "1.000", "0.200", "0.500"]  # easy of one seed, hard of both
    assert body(kinds([a_run(curve=()), *runs])) == [["protocol", "late12", "gpo_fast", "2", *shares]]
    assert kinds([a_run(curve=((0, 0.2),))]) == "No rows yet."


def test_groups_that_teach_by_hand():
    runs = [a_run("gpo_fast", seed, root_mixed=share, branch_mixed=0.5) for seed, share in enumerate((0.2, 0.4))]
    half = 12.706 * 0.1414214 / 2**0.5
    rows = body(groups([a_run(root_mixed=None), *runs]))
    assert rows[0] == ["protocol", "late12", "grpo", "0", "none", "0", "none"]
    assert rows[1][3:] == ["2", f"0.30 [{0.3 - half:.2f}, {0.3 + half:.2f}]", "2", "0.50 [0.50, 0.50]"]


# ---- pages ----


def test_figures_are_drawn_where_there_are_curves(tmp_path):
    runs = [*PAIR, *(a_run(name, 0, regime="spread6") for name in ("grpo", "oracle", "new"))]
    assert accuracy_over_tokens(runs, tmp_path / "figure" / "a.png")
    assert (tmp_path / "figure" / "a.png").stat().st_size > 10_000
    assert not accuracy_over_tokens([a_run(curve=())], tmp_path / "b.png") and not (tmp_path / "b.png").exists()


def test_panels_hold_what_is_trained_alike_and_can_be_read():
    runs = {0: a_run()}
    names = ["grpo", "grpo:n=4:lr=1e-3", "random:lr=1e-3"]
    assert panels_of({("a", name): runs for name in names}) == {
        "a": {"grpo": runs},
        "a, lr=1e-3": {"grpo:n=4": runs, "random": runs},
    }
    many = ["grpo", "grpo:n=4", "random", "gpo_fast", *(f"gpo_fast:n_mc={n}" for n in range(7))]
    drawn = panels_of({("a", name): runs for name in many})
    assert list(drawn["a"]) == ["grpo", "grpo:n=4", "random", "gpo_fast"]
    assert list(drawn["a, gpo_fast"]) == many[3:]
    assert list(panels_of({("a", name): runs for name in many[:10]})) == ["a"]


@pytest.fixture
def site(tmp_path):
    marked = "\n".join(f"<!-- evidence {name} -->\n<!-- /evidence -->" for name in evidence.SECTIONS)
    (tmp_path / "evidence.md").write_text(f"before\n{marked}\nafter\n")
    (tmp_path / "README.md").write_text("no table wanted\n")
    files = ("--results", "results", "--page", "evidence.md", "--readme", "README.md")
    return tmp_path, [*(str(tmp_path / word) if place % 2 else word for place, word in enumerate(files))]


def test_pages_are_written_once_and_checked(site, capsys):
    folder, arguments = site
    write(folder / "results", [*PAIR, a_run(grid="tuning", curve=())])
    assert evidence.main([*arguments, "--check"]) == 1
    assert "is not what the results say" in capsys.readouterr().err
    assert evidence.main(arguments) == 0
    page = (folder / "evidence.md").read_text()
    assert page.startswith("before\n") and page.endswith("after\n")
    assert "![accuracy over generated tokens, grid protocol](evidence/protocol.png)" in page
    assert (folder / "evidence" / "protocol.png").exists() and not (folder / "evidence" / "tokens.png").exists()
    assert comparison(PAIR, "protocol") in page and "**tuning**" in page
    assert "No rows yet of `python scripts/experiment.py scripts/experiments/tokens.yaml`." in page
    assert evidence.main([*arguments, "--check"]) == 0
    assert (folder / "README.md").read_text() == "no table wanted\n"
    (folder / "README.md").write_text("<!-- evidence summary -->\n<!-- /evidence -->\n")
    assert evidence.main(arguments) == 0
    assert "| protocol | late12 | 50.0, 3 seeds |" in (folder / "README.md").read_text()
    assert (folder / "evidence.md").read_text() == page


def test_a_page_without_a_marker_is_named(site, capsys):
    folder, arguments = site
    (folder / "evidence.md").write_text("nothing\n")
    assert evidence.main(arguments) == 1
    assert "evidence.md: <!-- evidence status -->" in capsys.readouterr().err


def test_rows_that_cannot_be_read_end_it_with_one_line(site, capsys):
    folder, arguments = site
    write(folder / "results", [a_run(), a_run(curve=())])
    assert evidence.main(arguments) == 1
    assert capsys.readouterr().err.startswith("verl_gpo: ")


def test_the_committed_pages_are_what_the_committed_rows_say():
    runs = read_results(evidence.RESULTS)
    for path, text in evidence.pages(runs, evidence.PAGE, evidence.README).items():
        assert path.read_text(encoding="utf-8") == text, f"{path.relative_to(REPOSITORY)}: python scripts/evidence.py"
