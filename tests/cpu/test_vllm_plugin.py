"""vLLM's half on a CPU, with vLLM and verl's receiver faked: when it is active, and what its patches do."""

import sys
from types import ModuleType

import pytest
import torch

from verl_gpo.cpu import vllm_plugin

LAYERS = "vllm.model_executor.layers.utils"
TRANSFER = "verl.workers.rollout.vllm_rollout.bucketed_weight_transfer"


@pytest.fixture
def layers(monkeypatch):
    """vLLM's module of layers; ``dispatched`` keeps what reached the original."""
    return faked(monkeypatch, LAYERS)


def faked(monkeypatch, path):
    parts = path.split(".")
    modules = [ModuleType(".".join(parts[: at + 1])) for at in range(len(parts))]
    for parent, child in zip(modules, modules[1:], strict=False):
        setattr(parent, child.__name__.rpartition(".")[2], child)
    for module in modules:
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return modules[-1]


def test_linear_weights_are_kept_whatever_vllm_asks(layers):
    seen = []
    layers.dispatch_cpu_unquantized_gemm = lambda layer, remove_weight: seen.append((layer, remove_weight))
    vllm_plugin._keep_linear_weights()
    layers.dispatch_cpu_unquantized_gemm("layer", True)
    layers.dispatch_cpu_unquantized_gemm("layer", remove_weight=False)
    assert seen == [("layer", False)] * 2


def test_received_weights_are_copies(monkeypatch):
    transfer = faked(monkeypatch, TRANSFER)
    shared = torch.ones(3)

    class BucketedWeightReceiver:
        def receive_weights(self, on_bucket_received):
            on_bucket_received([("w", shared)], True)

    transfer.BucketedWeightReceiver = BucketedWeightReceiver
    vllm_plugin._copy_received_weights()
    received = []
    BucketedWeightReceiver().receive_weights(lambda weights, is_last: received.append((weights, is_last)))
    shared.zero_()  # the sender overwrites its segment
    ((((name, tensor),), is_last),) = received
    assert (name, tensor.tolist(), is_last) == ("w", [1.0, 1.0, 1.0], True)


@pytest.mark.parametrize(("rank", "wanted", "active"), [("0", True, True), (None, True, False), ("0", False, False)])
def test_it_is_active_once_in_verls_rollout_servers_on_a_cpu(monkeypatch, rank, wanted, active):
    called = []
    monkeypatch.setattr(vllm_plugin, "_active", False)
    monkeypatch.setattr(vllm_plugin, "cpu_platform_wanted", lambda: wanted)
    monkeypatch.setattr(vllm_plugin, "_keep_linear_weights", lambda: called.append("keep"))
    monkeypatch.setattr(vllm_plugin, "_copy_received_weights", lambda: called.append("copy"))
    monkeypatch.delenv("VERL_REPLICA_RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("VERL_REPLICA_RANK", rank)
    vllm_plugin.activate()
    vllm_plugin.activate()
    assert called == (["keep", "copy"] if active else [])
