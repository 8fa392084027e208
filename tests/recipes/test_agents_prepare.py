"""The preparation of the agent task on a tiny budget, and conversations that a model leads."""

import json

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from recipes.agents import prepare as prepare_module  # noqa: E402
from recipes.agents import warmstart  # noqa: E402
from recipes.agents.chat import encode  # noqa: E402
from recipes.agents.prepare import main, prepare  # noqa: E402
from recipes.agents.task import AgentSpec, Building, Problem, call, generate_problems  # noqa: E402
from recipes.prepared import TargetMissed  # noqa: E402
from recipes.supervision import TrainSettings  # noqa: E402

SPEC = AgentSpec(n_moves=4, n_free=0)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(prepare_module, "SUPERVISED_PROBLEMS", 64)
    monkeypatch.setattr(prepare_module, "MEASURED_RESPONSES", 16)


def test_files_are_in_verls_schema_and_are_found_again(tiny, tmp_path, capsys):
    import pandas as pd
    from transformers import AutoModelForCausalLM

    # Two steps of training reach no accuracy at all, which a target from 0 accepts: all else is the real thing.
    out = tmp_path / "new" / "agents"
    request = {"train": 20, "test": 8, "steps": 2, "target": (0.0, 0.9), "progress": False}
    card, cached = prepare(out, SPEC, **request)
    assert not cached and (card["sampled"]["accuracy"], card["settings"]["steps"]) == (0.0, 2)
    assert (card["root_success"], card["chance"]) == (pytest.approx(0.4), 1 / 256)
    assert sorted(path.name for path in out.iterdir()) == ["card.json", "model", "test.parquet", "train.parquet"]
    assert AutoModelForCausalLM.from_pretrained(out / "model").num_parameters() == card["parameters"] < 1_000_000
    table = pd.read_parquet(out / "train.parquet")
    row, problem = table.iloc[0], generate_problems(SPEC, 64, 0)[0]
    assert len(table) == 20 and row["agent_name"] == "gpo_tool_agent"
    given = row["extra_info"]["tools_kwargs"]["walk"]["create_kwargs"]
    assert given == {"building": problem.building.number, "signs": problem.building.signs}
    assert tuple(row["extra_info"]["hard_steps"]) == problem.hard_turns
    assert (row["prompt"][0]["content"], row["reward_model"]["ground_truth"]) == (problem.prompt, problem.answer)
    assert prepare(out, SPEC, **request) == (card, True)
    command = ["--out", out, "--n-moves", 4, "--n-free", 0, "--train", 20, "--eval", 8, "--steps", 2]
    assert main(list(map(str, [*command, "--target-low", 0, "--target-high", 0.9]))) == 0
    assert "already prepared; sampled accuracy 0.000" in capsys.readouterr().out


def test_verl_reads_the_rows(tiny, tmp_path):
    rl_dataset = pytest.importorskip("verl.utils.dataset.rl_dataset")
    from omegaconf import OmegaConf

    prepare(tmp_path / "d", SPEC, train=4, test=2, steps=1, target=(0.0, 0.9), progress=False)
    config = OmegaConf.create({"max_prompt_length": 32, "filter_overlong_prompts": False})
    data = rl_dataset.RLHFDataset(str(tmp_path / "d" / "train.parquet"), None, config)
    problem = generate_problems(SPEC, 64, 0)[1]
    assert data[1]["agent_name"] == "gpo_tool_agent"
    assert data[1]["tools_kwargs"]["walk"]["create_kwargs"]["building"] == problem.building.number


@pytest.mark.parametrize(
    ("spec", "target", "message"),
    [
        (AgentSpec(n_moves=4, n_free=1), (0.2, 0.6), "n_moves=4 is not allowed with n_free=1: .* probability 0.016"),
        (AgentSpec(slip=0.9), (0.2, 0.6), "target=.* root success of 0.100"),
        (AgentSpec(), (0.6, 0.2), "target"),
    ],
)
def test_what_cannot_be_is_refused_before_training(tmp_path, spec, target, message):
    with pytest.raises(ValueError, match=message):
        prepare(tmp_path / "d", spec, target=target)
    assert not (tmp_path / "d").exists()


def test_a_missed_target_is_an_error_and_leaves_nothing(tiny, tmp_path, capsys):
    with pytest.raises(TargetMissed, match=r"sampled accuracy 0.000 after 3 x 1 steps"):
        prepare(tmp_path / "d", SPEC, train=8, test=4, steps=1, progress=False)
    assert not (tmp_path / "d").exists()
    assert main(["--out", str(tmp_path / "d"), "--slip", "2"]) == 1
    assert "error: slip=2.0 is not allowed" in capsys.readouterr().err


def test_a_conversation_that_a_model_leads(monkeypatch):
    """A model that writes these turns, whatever it sees: calls are answered, and the reward sees all of it."""
    problem = Problem(Building(78749, "!-"))
    door, following = problem.right_path
    turns = [call("walk", door=door), call("walk", door=following), call("add", a=1, b=2)]
    turns.append({"role": "assistant", "content": "The sum: 3"})
    settings = TrainSettings(steps=1, hidden_size=128)
    model, tokenizer, _ = warmstart.supervise([problem], 0.0, settings, 0, progress=False)
    script = iter([encode(tokenizer, [turn])[0][:-1] for turn in turns])
    seen = []

    def generate(input_ids, **how):
        seen.append(tokenizer.decode(input_ids[0]))
        return torch.tensor([[*input_ids[0].tolist(), *next(script), tokenizer.pad_token_id]])

    monkeypatch.setattr(model, "generate", generate)
    (game,) = warmstart.play(model, tokenizer, [problem])
    assert [message["content"] for message in game.messages if message["role"] == "tool"] == [
        *(str(room) for room in problem.right_rooms[1:]),
        "3",
    ]
    whole = tokenizer.apply_chat_template(game.messages, tokenize=False)
    assert whole == f"{problem.prompt}<|im_end|>\n{game.text}\n" and seen[-1] == whole[: whole.rindex("The sum")]
    assert game.tokens == sum(len(encode(tokenizer, [turn])[0]) - 1 for turn in turns)
    (found,) = warmstart.graded([problem], [game])
    assert (found.right, list(found.lines), found.hard) == (False, [True, True, False, False], {0})
    assert json.loads(json.dumps(game.messages)) == game.messages


def test_calls_that_cannot_be_made_are_answered(monkeypatch):
    problem = Problem(Building(78749, "!-"))
    model, tokenizer, _ = warmstart.supervise([problem], 0.0, TrainSettings(hidden_size=128), 0, progress=False)
    texts = ["<tool_call>{</tool_call>", '<tool_call>{"name": "fly", "arguments": {}}</tool_call>']
    texts += [
        '<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>',
        "<tool_call>[1]</tool_call>",
        "I give up",
    ]
    script = iter([tokenizer.encode(f"{text}<|im_end|>") for text in texts])
    monkeypatch.setattr(
        model, "generate", lambda input_ids, **how: torch.tensor([[*input_ids[0].tolist(), *next(script)]])
    )
    (game,) = warmstart.play(model, tokenizer, [problem])
    answers = [message["content"] for message in game.messages if message["role"] == "tool"]
    assert len(answers) == 4 and all(answer.startswith("error: ") for answer in answers)
    assert not warmstart.graded([problem], [game])[0].right
