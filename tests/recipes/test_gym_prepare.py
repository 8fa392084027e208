"""The preparation of a reasoning-gym task on a tiny budget; README.md has what the whole budget gives."""

import json
import subprocess
import sys

import pytest

pytest.importorskip("torch")
pytest.importorskip("reasoning_gym")

from recipes.gym import prepare as prepare_module  # noqa: E402
from recipes.gym.prepare import main, prepare, root_success  # noqa: E402
from recipes.gym.problems import generate, rows  # noqa: E402
from recipes.gym.tasks import TASKS, response  # noqa: E402
from recipes.gym.warmstart import graded  # noqa: E402
from recipes.prepared import TargetMissed  # noqa: E402
from recipes.supervision import Graded  # noqa: E402
from tests.conftest import REPOSITORY  # noqa: E402


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(prepare_module, "SUPERVISED_PROBLEMS", 64)
    monkeypatch.setattr(prepare_module, "MEASURED_RESPONSES", 16)


@pytest.mark.parametrize("task", TASKS)
def test_files_and_cache(tiny, tmp_path, capsys, task):
    import pandas as pd
    from transformers import AutoModelForCausalLM

    # Two steps of training reach no accuracy at all, which a target from 0 accepts: all else is the real thing.
    out = tmp_path / "new" / task
    request = {"train": 20, "test": 8, "steps": 2, "target": (0.0, 0.9), "progress": False}
    card, cached = prepare(out, task, **request)
    assert not cached
    assert sorted(path.name for path in out.iterdir()) == ["card.json", "model", "test.parquet", "train.parquet"]
    assert json.loads((out / "card.json").read_text()) == card
    assert (card["sampled"]["accuracy"], card["sampled"]["responses"], card["settings"]["steps"]) == (0.0, 16, 2)
    assert AutoModelForCausalLM.from_pretrained(out / "model").num_parameters() == card["parameters"] < 1_000_000

    tables = [pd.read_parquet(out / f"{split}.parquet") for split in ("train", "test")]
    assert [len(table) for table in tables] == [20, 8]
    questions = [{row["question"] for row in table["extra_info"]} for table in tables]
    assert not questions[0] & questions[1]

    stamp = (out / "card.json").stat().st_mtime_ns
    assert prepare(out, task, **request) == (card, True)
    command = ["--task", task, "--out", str(out), "--train", "20", "--eval", "8", "--steps", "2"]
    assert main([*command, "--target-low", "0", "--target-high", "0.9"]) == 0
    assert "already prepared; sampled accuracy 0.000" in capsys.readouterr().out
    assert (out / "card.json").stat().st_mtime_ns == stamp
    with pytest.raises(FileExistsError, match="made with other settings .* --force"):
        prepare(out, task, **{**request, "seed": 1})


def test_a_missed_target_is_a_clear_error_and_leaves_nothing(tiny, tmp_path):
    missed = r"sampled accuracy 0.000 after 3 x 1 steps .* outside the target \[0.2, 0.9\]"
    with pytest.raises(TargetMissed, match=missed):
        prepare(tmp_path / "x", "chain_sum", train=8, test=8, steps=1, target=(0.2, 0.9), progress=False)
    assert list(tmp_path.iterdir()) == []


def test_settings_that_cannot_work_are_refused_without_torch(tmp_path):
    """In one fresh process where any import of torch fails."""
    lines = [
        "import sys",
        "sys.modules['torch'] = None",
        "from recipes.gym.prepare import main",
        "for case in sys.argv[1].split(';'):",
        f"    assert main(['--out', {str(tmp_path / 'x')!r}, *case.split()]) == 1",
        "main(['--out', 'x', '--task', 'nosuch'])",
    ]
    cases = {
        "--task chain_sum --target-low 0.9": "target=(0.9, 0.6) is not allowed: it must be two accuracies",
        "--task chain_sum --slip 1": "slip=1.0 is not allowed: it must be a number in [0, 1)",
        "--task chain_sum --steps 0": "steps=0 is not allowed: it must be at least 1",
        "--task count_bits --eval 0": "eval=0 is not allowed: it must be at least 1",
        "--task count_bits --slip 0": "of the supervised solutions, with slip=0.0, 1.000 are right",
    }
    call = [sys.executable, "-c", "\n".join(lines), ";".join(cases)]
    done = subprocess.run(call, capture_output=True, text=True, cwd=REPOSITORY, timeout=120)
    assert done.returncode == 2, done.stderr
    for said in [*cases.values(), "argument --task: invalid choice: 'nosuch' (choose from"]:
        assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_root_success_is_what_the_slips_leave():
    problems = generate(TASKS["count_bits"], 2000, 0)
    assert root_success(problems, 0.0, 0) == 1.0
    expected = sum(0.75 ** sum(line.is_hard for line in problem.right_lines) for problem in problems) / len(problems)
    assert root_success(problems, 0.25, 0) == pytest.approx(expected, abs=0.03)


def test_responses_are_graded_line_by_line():
    problem = generate(TASKS["chain_sum"], 1, 0)[0]
    right = [line.text for line in problem.right_lines]
    hard = frozenset(k for k, line in enumerate(problem.right_lines) if line.is_hard)
    broken = [*right[:3], "+99", *right[4:]]
    found = graded([problem] * 4, ["\n".join(right), "\n".join(broken), "\n".join(right[:2]), ""])
    assert found[0] == Graded(True, [True] * 9, hard)
    assert found[1] == Graded(True, [True, True, True, False, *[True] * 5], hard)  # the scorer reads the answer alone
    assert found[2].lines == [True, True] and found[3] == Graded(False, [False], hard)
    assert response(problem.right_lines) == "\n".join(right) and len(rows([problem], "eval")) == 1
