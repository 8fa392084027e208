"""What runs found and where their seconds went, by hand."""

from dataclasses import replace

from scripts.experiments.measures import groups, hits, kinds, overhead
from tests.experiments.samples import a_run, body


def test_overhead_by_hand():
    plain = a_run(seconds=100.0, seconds_gen=40.0, seconds_old_log_prob=10.0, seconds_update_actor=20.0)
    ours = a_run("gpo_fast", seconds=150.0, seconds_gen=160.0, rows=1920.0, seconds_update_critic=5.0)
    first, second = body(overhead([plain, ours]))
    assert first == ["protocol", "late12", "grpo", "1", "10.00", "4.00", "1.00", "2.00", "0.00", "0.10", "2.90",
                     "1.00 (no interval)", "1.00 (no interval)", "1.00 (no interval)"]  # fmt: skip
    assert second[4:] == ["15.00", "16.00", "0.10", "0.10", "0.50", "0.10", "0.00",
                          "1.50 (no interval)", "1.50 (no interval)", "1.00 (no interval)"]  # fmt: skip
    assert body(overhead([replace(plain, seconds_gen=None)])) == []  # its phases were not written down


def test_hits_are_counted_over_seeds_with_wilsons_interval():
    runs = [a_run("gpo_fast", seed, hits=hits, chosen=5.0) for seed, hits in enumerate((5.0, 4.0))]
    # Wilson's of 9/10 is .596 to .982 (Brown, Cai & DasGupta 2001 give the formula; computed by hand).
    assert body(hits([a_run(), *runs])) == [["protocol", "late12", "gpo_fast", "2", "9 of 10", "0.90 [0.60, 0.98]"]]
    assert body(hits([a_run()])) == []


def test_lines_by_kind_are_those_of_the_first_and_the_last_evaluation():
    runs = [a_run("gpo_fast", seed, curve=((0, 0.2), (500, 0.9), (1000, last))) for seed, last in enumerate((0.4, 0.6))]
    runs[1] = replace(runs[1], points=tuple(replace(point, easy_step=None) for point in runs[1].points))
    shares = ["1.000", "1.000", "0.200", "0.500"]  # easy of one seed, hard of both
    assert body(kinds([a_run(curve=()), *runs])) == [["protocol", "late12", "gpo_fast", "2", *shares]]
    assert body(kinds([a_run(curve=((0, 0.2),))])) == []


def test_groups_that_teach_by_hand():
    runs = [a_run("gpo_fast", seed, root_mixed=share, reentry_mixed=0.5) for seed, share in enumerate((0.2, 0.4))]
    half = 12.706 * 0.1414214 / 2**0.5
    rows = body(groups([a_run(root_mixed=None), *runs]))
    assert rows[0] == ["protocol", "late12", "grpo", "0", "none", "0", "none"]
    assert rows[1][3:] == ["2", f"0.30 [{0.3 - half:.2f}, {0.3 + half:.2f}]", "2", "0.50 [0.50, 0.50]"]
