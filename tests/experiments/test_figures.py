"""Figures: what is drawn, and what stands in one panel."""

from scripts.experiments.figures import accuracy_over_distance, accuracy_over_tokens, panels_of
from scripts.experiments.rows import by_cell
from tests.experiments.samples import PAIR, a_run


def test_figures_are_drawn_where_there_are_curves(tmp_path):
    runs = [*PAIR, *(a_run(name, 0, regime="spread6") for name in ("grpo", "oracle", "new"))]
    assert accuracy_over_tokens(runs, tmp_path / "figure" / "a.png")
    assert (tmp_path / "figure" / "a.png").stat().st_size > 10_000
    assert not accuracy_over_tokens([a_run(curve=())], tmp_path / "b.png") and not (tmp_path / "b.png").exists()


def test_panels_hold_what_is_trained_alike_and_can_be_read():
    def drawn(runs):
        return {title: list(named) for title, named in panels_of(by_cell(runs)).items()}

    runs = [a_run(), a_run(rollouts=4, learning_rate=1e-3), a_run("random", learning_rate=1e-3)]
    assert drawn(runs) == {"late12": ["grpo"], "late12, learning_rate=0.001": ["grpo rollouts=4", "random"]}
    many = [a_run(), a_run(rollouts=4), a_run("random"), a_run("gpo_fast")]
    many += [a_run("gpo_fast", n_mc=number) for number in range(1, 8)]
    apart = drawn(many)
    assert apart["late12"] == ["grpo", "grpo rollouts=4", "random", "gpo_fast"]
    assert apart["late12, gpo_fast"] == ["gpo_fast", *(f"gpo_fast n_mc={number}" for number in range(1, 8))]
    assert list(drawn(many[:10])) == ["late12"]


def test_distances_are_drawn_even_where_nothing_was_learnt(tmp_path):
    rising = ((0, 0.2), (1000, 0.4), (2000, 0.6))
    flat = [a_run("random", curve=((0, 0.0), (1, 0.1)))]
    for number, runs in enumerate(([a_run(curve=rising), a_run("lean", curve=rising)], flat)):
        path = tmp_path / f"{number}.png"
        assert accuracy_over_distance(runs, path) and path.stat().st_size > 8_000
    assert not accuracy_over_distance([a_run(curve=())], tmp_path / "none.png")
