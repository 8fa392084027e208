"""The layout of rows that share their beginning, and a model's results in it against the plain ones."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, Qwen2Config, Qwen2ForCausalLM

from verl_gpo.cpu import shared_prefix

ROWS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=8).map(np.array), min_size=1, max_size=8)


def arrays(*rows):
    return [np.array(row) for row in rows]


def test_a_layout_by_hand():
    layout = shared_prefix.layout_of(arrays([5, 6, 8, 9], [5, 6, 7], [5, 6, 7]))
    # In order: 5 6 7, the same again, 5 6 8 9. The tokens of the rows one after the other: 5 6 8 9 5 6 7 5 6 7.
    assert layout.source.tolist() == [4, 5, 6, 2, 3]
    assert layout.positions.tolist() == [0, 1, 2, 2, 3]
    assert layout.node_of.tolist() == [0, 1, 3, 4, 0, 1, 2, 0, 1, 2]
    assert layout.segments == (2, 1, 2)
    first, second = layout.paths
    assert (first.tokens, first.segments, first.mask) == (3, (0, 1), None)
    assert (second.tokens, second.segments) == (2, (0, 2))
    assert second.mask.tolist() == [[True, True, True, False], [True, True, True, True]]


def test_micro_batches_count_shared_tokens_once():
    rows = arrays([1, 1, 1, 1, 5], [2, 2, 2, 2, 5], [1, 1, 1, 1, 6], [2, 2, 2, 2, 6])
    assert shared_prefix.micro_batches(rows, 6) == [[0, 2], [1, 3]]
    assert shared_prefix.micro_batches(rows, 12) == [[0, 2, 1, 3]]
    assert shared_prefix.micro_batches(rows, 3) == [[0], [2], [1], [3]]  # each longer than that


def test_parts_are_divided_where_most_rows_are():
    assert shared_prefix.in_at_least([[3, 1, 2], [0]], 1) == [[3, 1, 2], [0]]
    assert shared_prefix.in_at_least([[3, 1, 2], [0]], 3) == [[3], [1, 2], [0]]
    assert shared_prefix.in_at_least([[3, 1, 2], [0]], 4) == [[3], [1], [2], [0]]
    with pytest.raises(ValueError, match="4 rows cannot be divided into 5 micro-batches"):
        shared_prefix.in_at_least([[3, 1, 2], [0]], 5)


@given(ROWS)
def test_every_token_is_found_again_and_no_path_has_another(rows):
    layout = shared_prefix.layout_of(rows)
    tokens = torch.from_numpy(np.concatenate(rows))
    kept = tokens[layout.source]
    assert torch.equal(kept[layout.node_of], tokens)
    positions = torch.cat([torch.arange(len(row)) for row in rows])
    assert torch.equal(layout.positions[layout.node_of], positions)
    # As many nodes as there are different beginnings.
    assert len(kept) == len({tuple(row[: k + 1].tolist()) for row in rows for k in range(len(row))})
    segments = kept.split(layout.segments)
    paths = {tuple(torch.cat([segments[k] for k in path.segments]).tolist()) for path in layout.paths}
    beginnings = {tuple(row.tolist()) for row in rows}
    assert paths <= beginnings
    # A row without a token of its own is the beginning of one that has.
    assert all(any(path[: len(row)] == row for path in paths) for row in beginnings)
    assert sum(path.tokens for path in layout.paths) == len(kept) == sum(layout.segments)


@given(ROWS, st.integers(1, 20))
def test_micro_batches_are_a_partition_within_the_limit(rows, limit):
    parts = shared_prefix.micro_batches(rows, limit)
    assert sorted(row for part in parts for row in part) == list(range(len(rows)))
    for part in parts:
        nodes = len(shared_prefix.layout_of([rows[row] for row in part]).source)
        assert nodes <= limit or len(part) == 1 or nodes == len(rows[part[0]])


def tiny(kind="llama"):
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    shape |= {"num_key_value_heads": 2, "vocab_size": 11, "max_position_embeddings": 64, "tie_word_embeddings": True}
    torch.manual_seed(0)
    if kind == "llama":
        return LlamaForCausalLM(LlamaConfig(**shape, attn_implementation="sdpa")).double()
    return Qwen2ForCausalLM(Qwen2Config(**shape, attn_implementation="sdpa")).double()


def gradients(model):
    found = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    return found


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
@settings(max_examples=6)
@given(rows=st.lists(st.lists(st.integers(0, 3), min_size=2, max_size=12).map(np.array), min_size=1, max_size=6))
def test_a_model_gives_the_same_logits_and_gradients(kind, rows):
    shared_prefix.register()
    model = tiny(kind)
    weights = torch.randn(sum(map(len, rows)), 11, dtype=torch.double)
    plain = torch.cat([model(input_ids=torch.from_numpy(row)[None]).logits[0] for row in rows])
    (plain * weights).sum().backward()
    expected = gradients(model)

    model.config._attn_implementation = shared_prefix.ATTENTION
    layout = shared_prefix.layout_of(rows)
    tokens = torch.from_numpy(np.concatenate(rows))
    shared = model(
        input_ids=tokens[layout.source][None],
        position_ids=layout.positions[None],
        logits_to_keep=layout.node_of,
        shared_prefix_layout=layout,
    ).logits[0]
    torch.testing.assert_close(shared, plain, rtol=1e-4, atol=1e-5)  # transformers takes norms in float32
    (shared * weights).sum().backward()
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-4)


def test_without_a_layout_the_attention_says_so():
    shared_prefix.register()
    model = tiny()
    model.config._attn_implementation = shared_prefix.ATTENTION
    with pytest.raises(ValueError, match="LlamaAttention did not hand on the layout"):
        model(input_ids=torch.zeros(1, 3, dtype=torch.long))


@pytest.mark.parametrize(
    "config, expected",
    [
        (LlamaConfig(attn_implementation="sdpa"), True),
        (Qwen2Config(attn_implementation="sdpa"), True),
        (LlamaConfig(attn_implementation="eager"), False),
        (LlamaConfig(attn_implementation="sdpa", attention_dropout=0.1), False),
        (
            Qwen2Config(attn_implementation="sdpa", use_sliding_window=True, sliding_window=8, max_window_layers=1),
            False,
        ),
        (MistralConfig(attn_implementation="sdpa", sliding_window=8), False),
        (MistralConfig(attn_implementation="sdpa", sliding_window=None), True),
    ],
)
def test_models_that_would_differ_are_left_alone(config, expected):
    assert shared_prefix.supports(config) is expected


def test_other_architectures_are_left_alone():
    from transformers import GPT2Config

    assert not shared_prefix.supports(GPT2Config(attn_implementation="sdpa"))
