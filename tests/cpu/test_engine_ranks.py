"""The same batch on one rank and on two, with FSDP2 over gloo: the same gradients, for verl's engine and for ours."""

import socket

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp

from recipes.arithmetic.model import build_model, build_tokenizer
from tests.cpu import on_ranks
from verl_gpo.cpu.shared_prefix import micro_batches

AGGREGATIONS = ("token-mean", "seq-mean-token-mean", "seq-mean-token-sum")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """``{(rank, ranks): {aggregation: {engine: (gradients, norm, loss, micro-batches)}}}``"""
    folder = tmp_path_factory.mktemp("ranks")
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    build_model(tokenizer).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    results = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VERL_PLATFORM", "cpu")
        contexts = [
            mp.spawn(on_ranks.in_process, (world, free_port(), folder, AGGREGATIONS), world, join=False)
            for world in (1, 2)
        ]
        for context in contexts:
            while not context.join():
                pass
    for world in (1, 2):
        for rank in range(world):
            results[rank, world] = torch.load(folder / f"{rank}-of-{world}.pt", weights_only=True)
    return results


def assert_equal_to_rounding(gradients, wanted):
    """On the scale of a tensor: its small entries are differences of large ones."""
    assert set(gradients) == set(wanted)
    for name, gradient in gradients.items():
        assert (gradient - wanted[name]).abs().max() < 1e-5 * wanted[name].abs().max(), name


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("engine", ["verl", "ours"])
def test_gradients_of_two_ranks_are_those_of_one(found, engine, aggregation):
    wanted, norm, loss, _ = found[0, 1][aggregation][engine]
    assert norm > 0 and all(gradient.abs().max() > 0 for gradient in wanted.values())
    for rank in (0, 1):
        gradients, own_norm, own_loss, _ = found[rank, 2][aggregation][engine]
        assert own_norm == pytest.approx(norm, rel=1e-5) and own_loss == pytest.approx(loss, rel=1e-5)
        assert_equal_to_rounding(gradients, wanted)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_gradients_of_two_ranks_of_ours_are_those_of_verls(found, aggregation):
    wanted, gradients = (found[0, 2][aggregation][engine][0] for engine in ("verl", "ours"))
    assert_equal_to_rounding(gradients, wanted)


def test_a_rank_with_fewer_micro_batches_takes_as_many_as_the_others(found):
    alone = []
    for rank in (0, 1):
        rows = [np.array(prompt + response) for prompt, response, *_ in on_ranks.rows_of(rank, 2)]
        alone.append(len(micro_batches(rows, on_ranks.LIMIT)))
    assert alone[0] < alone[1]  # otherwise nothing is seen of it
    assert [found[rank, 2]["token-mean"]["ours"][3] for rank in (0, 1)] == [alone[1]] * 2
