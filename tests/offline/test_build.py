"""The pair builder with a fake engine: what is drawn, paired, kept over an interruption, and refused."""

import json
import sys

import pytest

from tests.conftest import REPOSITORY
from tests.offline import fakes
from tests.offline.conftest import read_report, read_rows, write_prompts
from tests.offline.fakes import END, FakeEngine
from verl_gpo.inference import launch
from verl_gpo.offline import build
from verl_gpo.offline.records import file_of, read_records


def answers():
    return {answer for engine in FakeEngine.made for answer in engine.answers}


def tasks(folder):
    return [(record.visit, record.index) for record in read_records(file_of(folder))]


@pytest.mark.parametrize("method", ["gpo", "random", "plain"])
def test_pairs_differ_in_outcome_and_continue_the_same_tokens(builder, tmp_path, method):
    assert builder("--method", method) == 0
    rows, said = read_rows(tmp_path / "run"), answers()
    assert rows
    for row in rows:
        assert (row["chosen_reward"], row["rejected_reward"]) == (1.0, 0.0)
        prompt, chosen, rejected = (tuple(row[f"{part}_ids"]) for part in ("prompt", "chosen", "rejected"))
        # The engine was given exactly this prompt, prefix included, and wrote exactly these tokens.
        assert (prompt, chosen) in said and (prompt, rejected) in said
        question = f"<q{row['index']}>"
        kept = prompt[len(question) :]
        assert prompt == (*map(ord, question), *kept) and len(kept) == row["prefix_tokens"]
        assert row["prompt"] + row["chosen"] == "".join(map(chr, prompt + chosen)) and row["text_exact"]
        assert chosen[-1] == END
        assert len(kept) % 5 == 0 and (method != "plain" or not kept)  # whole lines
    assert any(row["prefix_tokens"] for row in rows) == (method != "plain")


def test_the_report_counts_what_was_generated(builder, tmp_path):
    assert builder("n_mc=2") == 0
    report = read_report(tmp_path / "run")
    assert report["tokens"]["total"] == sum(len(written) for engine in FakeEngine.made for _, written in engine.answers)
    assert report["tokens"]["root"] == 6 * 8 * 21  # 8 responses of 4 lines and an end
    assert report["pairs"] == len(read_rows(tmp_path / "run"))
    assert report["prompts_with_pairs"] == len({row["index"] for row in read_rows(tmp_path / "run")}) / 6
    singles = read_rows(tmp_path / "run", "unpaired")
    assert report["unpaired"] == {
        "desirable": sum(row["label"] for row in singles),
        "undesirable": sum(not row["label"] for row in singles),
    }


def test_an_interrupted_build_goes_on_and_repeats_nothing(builder, tmp_path, capsys):
    assert builder("--concurrency", 1, "--method", "plain", fail_after=20) == 1
    # The third prompt gets 4 of its 8 rollouts, which are enough to go on with; the others get none.
    assert "3 prompts are missing" in capsys.readouterr().err
    assert tasks(tmp_path / "run") == [(0, 0), (0, 1), (0, 2)]
    before = file_of(tmp_path / "run").read_text()
    assert builder("--method", "plain") == 0
    assert tasks(tmp_path / "run") == [(0, i) for i in range(6)]
    assert file_of(tmp_path / "run").read_text().startswith(before)
    made = len(FakeEngine.made)
    lines = read_rows(tmp_path / "run")
    assert builder("--method", "plain") == 0 and len(FakeEngine.made) == made  # nothing is missing: no engine
    assert read_rows(tmp_path / "run") == lines
    assert len({json.dumps([row["prompt_ids"], row["chosen_ids"], row["rejected_ids"]]) for row in lines}) == len(lines)


def test_a_line_that_was_cut_off_is_drawn_again(builder, tmp_path):
    assert builder("--method", "plain") == 0
    path = file_of(tmp_path / "run")
    whole = path.read_text()
    path.write_text(whole[:-30])
    assert builder("--method", "plain") == 0
    assert tasks(tmp_path / "run") == [(0, i) for i in range(6)]
    assert len(FakeEngine.made[-1].answers) == 8


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--roots", "4"], "roots (8 there, 4 here)"),
        (["n_mc=2"], "gpo ({} there, {'n_mc': 2} here)"),
        (["--method", "plain"], "method ('gpo' there, 'plain' here)"),
        (["--temperature", "0.7"], "temperature (1.0 there, 0.7 here)"),
    ],
)
def test_other_settings_are_refused(builder, capsys, options, said):
    assert builder() == 0
    made = len(FakeEngine.made)
    assert builder(*options) == 1
    assert said in capsys.readouterr().err and len(FakeEngine.made) == made


def test_other_data_is_refused(builder, tmp_path, capsys):
    assert builder() == 0
    write_prompts(tmp_path / "data.parquet", first=1)
    assert builder() == 1
    assert "row 0 is not the one" in capsys.readouterr().err


def test_records_without_their_settings_are_refused(builder, tmp_path, capsys):
    assert builder() == 0
    (tmp_path / "run" / "run.json").unlink()
    assert builder() == 1
    assert "no run.json" in capsys.readouterr().err


def test_another_choice_of_pairs_draws_nothing(builder, tmp_path):
    assert builder("--method", "plain") == 0
    made, balanced = len(FakeEngine.made), len(read_rows(tmp_path / "run"))
    assert builder("--method", "plain", "--select", "all") == 0
    assert len(read_rows(tmp_path / "run")) > balanced and len(FakeEngine.made) == made
    assert builder("--method", "plain", "--select", "best_worst") == 0
    assert len(read_rows(tmp_path / "run")) <= 6


def test_a_token_budget_is_kept_and_shared_with_a_twin(builder, tmp_path, capsys):
    budget = 1000
    assert builder("--method", "gpo", "--token-budget", budget, out="gpo") == 0
    report = read_report(tmp_path / "gpo")
    assert 0 < report["tokens"]["total"] <= budget and report["prompts"] < 6
    assert builder("--method", "plain", "--token-budget", 2000, "--visits", 9, out="wide") == 0
    # 168 tokens a visit: eleven fit, and the twelfth crosses.
    wide = read_report(tmp_path / "wide")
    assert (wide["visits"], wide["tokens"]["total"], wide["tokens"]["unused"]) == (11, 11 * 168, 168)
    assert builder("--method", "plain", "--token-budget", tmp_path / "gpo", "--visits", 3, out="plain") == 0
    twin = read_report(tmp_path / "plain")
    assert twin["token_budget"] == report["tokens"]["total"]
    assert report["tokens"]["total"] - 8 * 21 < twin["tokens"]["total"] <= report["tokens"]["total"]
    assert builder("--method", "plain", "--token-budget", 10**6, out="short") == 0
    assert "the prompts ran out" in capsys.readouterr().err


def test_prompts_are_visited_again_for_other_rollouts(builder, tmp_path):
    assert builder("--method", "plain", "--visits", 2) == 0
    assert tasks(tmp_path / "run") == [(visit, i) for visit in range(2) for i in range(6)]
    rows = read_rows(tmp_path / "run")
    keys = [json.dumps([row["prompt_ids"], row["chosen_ids"], row["rejected_ids"]]) for row in rows]
    assert len(set(keys)) == len(keys)
    assert {row["visit"] for row in rows} == {0, 1}


def test_shares_are_drawn_apart_and_merged(builder, tmp_path):
    for shard in range(3):
        assert builder("--shard", f"{shard}/3") == 0
    assert not (tmp_path / "run" / "pairs.parquet").exists()
    made = len(FakeEngine.made)
    assert made == 3
    assert builder("--merge") == 0
    assert len(FakeEngine.made) == made
    assert tasks(tmp_path / "run") == [(0, i) for i in range(6)] and read_rows(tmp_path / "run")
    assert not list((tmp_path / "run").glob("records.shard-*"))


def test_merging_what_is_there_says_what_is_missing(builder, tmp_path, capsys):
    assert builder("--shard", "0/2") == 0
    assert builder("--merge") == 0
    assert "3 prompts are missing" in capsys.readouterr().err and read_rows(tmp_path / "run")


def test_a_share_that_is_being_written_is_not_merged(builder, tmp_path, capsys):
    assert builder("--shard", "0/2") == 0
    with launch.locked(tmp_path / "run", ".records.shard-0-of-2.lock"):
        assert builder("--merge") == 1
        assert builder("--shard", "0/2", "--visits", 2) == 1
    assert capsys.readouterr().err.count("another call is writing there") == 2
    assert builder("--merge") == 0


def test_an_engine_that_dies_leaves_the_others_work_and_its_own_so_far(builder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(build, "_COMMAND", (sys.executable, fakes.__file__))
    monkeypatch.setattr(launch, "_POLL", 0.05)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("FAKE_DIES", "10")
    options = ["--method", "plain", "--concurrency", 1]
    assert builder(*options, "--engines", 2) == 1
    error = capsys.readouterr().err
    assert "engine 1 of 2 ended with status 9" in error and "2 prompts are missing" in error
    monkeypatch.delenv("FAKE_DIES")
    assert builder(*options, "--engines", 3) == 0
    assert tasks(tmp_path / "run") == [(0, i) for i in range(6)]


def test_where_nothing_differs_there_are_no_pairs(builder, tmp_path):
    (tmp_path / "always.py").write_text("def compute_score(**kwargs):\n    return 1.0\n")
    assert builder("--reward", tmp_path / "always.py") == 0
    assert read_rows(tmp_path / "run") == [] and read_rows(tmp_path / "run", "unpaired") == []
    assert read_report(tmp_path / "run")["pairs"] == 0


def test_a_continuation_that_was_cut_off_is_never_chosen(builder, tmp_path):
    # 20 tokens are four lines without the end: every response is cut off, some with a reward of 1.
    assert builder("--response-length", 20, "--method", "plain") == 0
    assert read_rows(tmp_path / "run") == []
    assert builder("--response-length", 20, "--method", "plain", "--truncated", "keep") == 0
    rows = read_rows(tmp_path / "run")
    assert rows and all(row["chosen_finish"] == row["rejected_finish"] == "length" for row in rows)
    assert all(row["chosen_ids"][-1] != END for row in rows)


def test_a_prompt_that_the_engine_cannot_take_is_left_out_with_the_reason(builder, tmp_path, capsys):
    data = write_prompts(tmp_path / "data.parquet", questions={2: "q" * 300, 4: "refuse me"})
    assert builder("--method", "plain", max_model_len=200) == 0
    error = capsys.readouterr().err
    assert "warning: row 2 is left out: the prompt has 302 tokens; the engine takes 200, the response included" in error
    assert "warning: row 4 is left out: the chat template refuses it (ValueError: no such role)" in error
    report = read_report(tmp_path / "run")
    assert [left["row"] for left in report["left_out"]] == [2, 4] and report["prompts"] == 4
    assert {row["index"] for row in read_rows(tmp_path / "run")} <= {0, 1, 3, 5}
    # The same call finds nothing that is missing: no engine is started, and the reason is said again.
    made = len(FakeEngine.made)
    assert builder("--method", "plain", max_model_len=200) == 0 and len(FakeEngine.made) == made
    assert "row 2 is left out" in capsys.readouterr().err and data.exists()


def test_where_every_prompt_is_left_out_there_is_one_more_line(builder, tmp_path, capsys):
    assert builder("--method", "plain", max_model_len=3) == 1
    error = capsys.readouterr().err
    assert "every prompt is left out: there are no pairs" in error and "1 more rows left out" in error
    assert read_rows(tmp_path / "run") == []
