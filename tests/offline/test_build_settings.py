"""Errors come before the engine, and name the option or key."""

import pytest

from tests.offline.fakes import FakeEngine

WRONG = [
    (["--roots", "0"], "--roots=0: must be at least 1"),
    (["--roots", "1", "--method", "plain"], "--roots=1: must be at least 2"),
    (["--response-length", "1"], "--response-length=1: must be at least 2"),
    (["--visits", "0"], "--visits=0"),
    (["--concurrency", "0"], "--concurrency=0"),
    (["--max-pairs", "-1"], "--max-pairs=-1: must be at least 0"),
    (["--min-gap", "-1"], "--min-gap=-1.0: must be 0 or more"),
    (["--temperature", "0"], "--temperature=0.0: must be above 0"),
    (["--top-p", "0"], "--top-p=0.0: must be above 0 and at most 1"),
    (["--token-budget", "0"], "--token-budget=0: must be a number of at least 1"),
    (["--token-budget", "nowhere"], "--token-budget=nowhere: must be a number of at least 1, or the folder"),
    (["--shard", "2/2"], "--shard=2/2: must be I/N"),
    (["--shard", "half"], "--shard=half: must be I/N"),
    (["--shard", "0/2", "--merge"], "--merge draws nothing"),
    (["--engine", "max_model_len=9"], "--engine max_model_len: give it as --max-model-len"),
    (["--model", "./nowhere"], "--model=./nowhere: no such folder"),
    (["--data", "nothing.parquet"], "--data='nothing.parquet': not a readable parquet file"),
    (["--reward", "nothing.py"], "--reward='nothing.py': no such file"),
    (["n_mc=0"], "algorithm.gpo.n_mc=0: must be an integer of at least 1"),
    (["nmc=4"], "algorithm.gpo.nmc=4: no such key; did you mean n_mc?"),
    (["seed=3"], "algorithm.gpo.seed=3: give it as --seed"),
    (["search=random"], "algorithm.gpo.search='random': is --method random, or --method plain"),
    (["search=given"], "algorithm.gpo.search='given': must look for the step"),
    (["search=uniform", "--method", "random"], "algorithm.gpo.search='uniform': is set by --method"),
    (["enable=false"], "algorithm.gpo.enable=False: whole responses are --method plain"),
    (["n_mc"], "'n_mc': must be KEY=VALUE"),
]


@pytest.mark.parametrize(("options", "said"), WRONG)
def test_errors_name_the_key(builder, capsys, options, said):
    assert builder(*options) == 1
    error = capsys.readouterr().err
    assert said in error and len(error.splitlines()) == 1
    assert FakeEngine.made == []


def test_a_reward_that_fails_is_found_before_the_engine(builder, tmp_path, capsys):
    (tmp_path / "broken.py").write_text("def compute_score(**kwargs):\n    raise KeyError('answer')\n")
    assert builder("--reward", tmp_path / "broken.py") == 1
    assert "broken.py: fails on row 0 (fake): KeyError('answer')" in capsys.readouterr().err
    assert FakeEngine.made == []
