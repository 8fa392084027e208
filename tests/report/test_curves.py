"""The picture of the summary: what is drawn, read back from the axes, and the file."""

import matplotlib
import matplotlib.pyplot as plt
import pytest

from verl_gpo.report import curves
from verl_gpo.traces.runlog import RunLog

GPO = RunLog(
    {
        0: {"val-core/a/acc/mean@1": 0.5},
        1: {"gpo/accuracy/root": 0.25, "gpo/tokens/root": 1000, "gpo/tokens/value": 500, "gpo/tokens/reentry": 500},
        2: {"gpo/accuracy/root": 0.5, "gpo/tokens/root": 1000, "val-core/a/acc/mean@1": 0.75},
    }
)
PLAIN = RunLog({0: {"val-core/a/acc/mean@1": 0.5}, 1: {"timing_s/step": 1.0}})


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """The axes of a picture of both runs."""
    matplotlib.use("Agg")
    kept = []
    monkeypatch.setattr(plt, "close", kept.append)
    curves.draw({"GPO": GPO, "GRPO": PLAIN}, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    return kept[0].axes


def test_accuracy_is_drawn_over_the_tokens_spent_until_then(drawn):
    training, validation, _, other = drawn[0].lines
    assert training.get_xydata().tolist() == [[2.0, 0.25], [3.0, 0.5]]  # thousands
    assert validation.get_xydata().tolist() == [[0.0, 0.5], [3.0, 0.75]]
    assert other.get_xydata().tolist() == [[0.0, 0.5]]
    assert drawn[0].get_legend_handles_labels()[1] == ["GPO, validation", "GRPO, validation"]


def test_bars_say_what_the_tokens_were_generated_for(drawn):
    bars = {container.get_label(): [bar.get_height() for bar in container] for container in drawn[1].containers}
    assert bars == {"root rollouts": [2.0, 0.0], "Monte Carlo values": [0.5, 0.0], "re-entry rollouts": [0.5, 0.0]}
