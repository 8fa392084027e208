"""Tokenizer, model start and the preparation command (its end-to-end run is tested elsewhere: it takes minutes)."""

import json
import os
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from recipes.arithmetic.model import build_model, build_tokenizer, encode_prompt  # noqa: E402
from recipes.arithmetic.prepare import main, prepare  # noqa: E402
from recipes.arithmetic.task import ArithmeticSpec, generate_problems, parse_problem  # noqa: E402
from recipes.arithmetic.warmstart import TrainSettings, measure  # noqa: E402
from recipes.prepared import TargetMissed, read_card  # noqa: E402
from tests.conftest import REPOSITORY  # noqa: E402

TOKENIZER = build_tokenizer()
PROMPT = "a+385 b*379 417"


def test_one_token_a_byte():
    assert TOKENIZER.encode("\n") == [10]
    assert TOKENIZER.encode("a+792\n= 138") == list(b"a+792\n= 138")
    assert (len(TOKENIZER), TOKENIZER.eos_token, TOKENIZER.pad_token) == (258, "<|im_end|>", "<|endoftext|>")
    assert TOKENIZER.encode("= 138<|im_end|>") == [*b"= 138", TOKENIZER.eos_token_id]


@settings(max_examples=100)
@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_text_round_trips(text):
    if "<|" not in text:
        ids = TOKENIZER.encode(text)
        assert ids == list(text.encode())
        assert TOKENIZER.decode(ids) == text


def test_saved_tokenizer_loads_as_the_same(tmp_path):
    from transformers import AutoTokenizer

    TOKENIZER.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert encode_prompt(loaded, PROMPT) == encode_prompt(TOKENIZER, PROMPT) == list(f"{PROMPT}\n".encode())
    assert (loaded.eos_token_id, loaded.pad_token_id) == (TOKENIZER.eos_token_id, TOKENIZER.pad_token_id)
    turns = [{"role": "user", "content": PROMPT}, {"role": "assistant", "content": "= 1"}]
    assert loaded.apply_chat_template(turns, tokenize=False) == f"{PROMPT}\n= 1<|im_end|>\n"


def test_verl_builds_the_prompt_that_training_used():
    wiring = pytest.importorskip("verl.utils.tokenizer.continuous_token_wiring")
    builder = wiring.create_continuous_token_builder(TOKENIZER, hf_model_type="qwen2", chat_template_kwargs={})
    built = builder.build_initial_tokens([{"role": "user", "content": PROMPT}])
    assert built == encode_prompt(TOKENIZER, PROMPT)


def test_model_is_small_seeded_and_starts_looking_back():
    torch.manual_seed(3)
    first = build_model(TOKENIZER, distances=(5, 40))
    torch.manual_seed(3)
    second = build_model(TOKENIZER, distances=(5, 40))
    assert first.num_parameters() == second.num_parameters() < 1_000_000
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    first.set_attn_implementation("eager")
    ids = torch.randint(0, 256, (1, 80))
    weights = first(ids, output_attentions=True).attentions[0][0]
    for head, distance in enumerate((5, 40)):
        assert weights[head, 60:].argmax(-1).tolist() == [query - distance for query in range(60, 80)]


@pytest.mark.parametrize("wrong", [{"hidden_size": 48}, {"hidden_size": 0}, {"distances": (1, 2, 3)}])
def test_model_errors(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}=.* is not allowed"):
        build_model(TOKENIZER, **wrong)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"batch_size": 1.5}, {"learning_rate": 0.0}])
def test_settings_errors(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}=.* is not allowed"):
        TrainSettings(**wrong)


def test_measure_of_an_untrained_model():
    torch.manual_seed(0)
    problems = generate_problems(ArithmeticSpec(4, 1), 4, 0, "eval")
    result = measure(build_model(TOKENIZER).eval(), TOKENIZER, problems, seed=0, samples=2)
    assert (result.accuracy, result.easy_step, result.responses) == (0.0, 0.0, 8)
    assert result.to_dict()["hard_step"] is None  # no hard line was reached


def test_missed_target_is_a_clear_error_and_leaves_nothing(tmp_path, capsys):
    out = tmp_path / "task"
    spec = ArithmeticSpec(4, 1, "spread", 0.5)
    missed = r"sampled accuracy 0\.\d+ after 3 x 2 steps .* outside the target \[0.3, 0.6\]"
    with pytest.raises(TargetMissed, match=missed):
        prepare(out, spec, train=8, test=8, steps=2, progress=False)
    assert list(tmp_path.iterdir()) == []
    short = ["--out", str(out), "--n-steps", "4", "--n-hard", "1", "--slip", ".5", "--train", "8", "--eval", "8"]
    assert main([*short, "--steps", "2"]) == 1
    assert "error: sampled accuracy" in capsys.readouterr().err


def test_unreachable_targets_and_sizes(tmp_path):
    spec = ArithmeticSpec(slip=0.25)
    with pytest.raises(ValueError, match="root success of 0.422, which must lie in the target"):
        prepare(tmp_path / "x", spec, target=(0.5, 0.6))
    with pytest.raises(ValueError, match=r"target=\(0.6, 0.3\) is not allowed"):
        prepare(tmp_path / "x", spec, target=(0.6, 0.3))
    with pytest.raises(ValueError, match="train=0 is not allowed"):
        prepare(tmp_path / "x", spec, train=0)
    assert list(tmp_path.iterdir()) == []


def test_files_and_cache(tmp_path, capsys):
    import pandas as pd

    # Two steps of training reach no accuracy at all, which a target from 0 accepts: all else is the real thing.
    out = tmp_path / "new" / "task"
    request = {"train": 20, "test": 8, "steps": 2, "target": (0.0, 0.6), "progress": False}
    card, cached = prepare(out, ArithmeticSpec(4, 1, "late", 0.5), **request)
    assert not cached
    assert sorted(p.name for p in out.iterdir()) == ["card.json", "model", "test.parquet", "train.parquet"]
    assert {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"} <= {
        p.name for p in (out / "model").iterdir()
    }
    generation = json.loads((out / "model" / "generation_config.json").read_text())
    assert generation["eos_token_id"] == TOKENIZER.eos_token_id
    assert card["sampled"]["responses"] == 1024 and card["root_success"] == 0.5

    table = pd.read_parquet(out / "train.parquet")
    assert list(table.columns) == ["data_source", "prompt", "ability", "reward_model", "extra_info"]
    assert (len(table), len(pd.read_parquet(out / "test.parquet"))) == (20, 8)
    first = table.iloc[3]
    problem = parse_problem(first["prompt"][0]["content"])
    assert first["prompt"][0]["role"] == "user"
    assert first["reward_model"] == {"style": "rule", "ground_truth": problem.answer}
    assert (first["extra_info"]["split"], first["extra_info"]["index"]) == ("train", 3)
    assert list(first["extra_info"]["hard_steps"]) == [3] == list(problem.hard_steps)

    stamp = (out / "card.json").stat().st_mtime_ns
    assert prepare(out, ArithmeticSpec(4, 1, "late", 0.5), **request) == (card, True)
    short = ["--n-steps", "4", "--n-hard", "1", "--hard-place", "late", "--slip", "0.5", "--train", "20", "--eval", "8"]
    assert main(["--out", str(out), *short, "--steps", "2", "--target-low", "0"]) == 0
    assert "already prepared" in capsys.readouterr().out
    assert (out / "card.json").stat().st_mtime_ns == stamp

    with pytest.raises(FileExistsError, match="made with other settings .* --force"):
        prepare(out, ArithmeticSpec(4, 1, "early", 0.5), **request)
    renewed, cached = prepare(out, ArithmeticSpec(4, 1, "early", 0.5), force=True, **request)
    assert not cached and read_card(out) == renewed != card

    # A folder that lost its card is not taken for complete, nor is a stranger's folder overwritten.
    (out / "card.json").unlink()
    with pytest.raises(FileExistsError, match="was not written by this command"):
        prepare(out, ArithmeticSpec(4, 1, "early", 0.5), force=True, **request)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--slip", "2", "slip=2.0 is not allowed: it must be a number in [0, 1)"),
        ("--n-signs", "40", "n_signs=40 is not allowed: it must be an integer from 1 to 13"),
    ],
)
def test_the_command_ends_in_one_line_where_it_cannot_work(tmp_path, option, value, message):
    call = [sys.executable, "-m", "recipes.arithmetic.prepare", "--out", str(tmp_path / "x"), option, value]
    done = subprocess.run(call, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == f"error: {message}\n"


@pytest.mark.parametrize("script", ["run.sh", "offline.sh"])
def test_scripts_find_the_preparation_from_any_directory(tmp_path, script):
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment = {**clean, "PYTHON": sys.executable, "PREPARE_ARGS": "--slip 2", "DATA_DIR": "relative"}
    call = ["bash", str(REPOSITORY / "recipes" / "arithmetic" / script)]
    done = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "error: slip=2.0 is not allowed" in done.stderr and list(tmp_path.iterdir()) == []
