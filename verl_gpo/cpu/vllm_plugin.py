"""vLLM's half of running verl on a CPU, loaded by vLLM itself (entry point group ``vllm.general_plugins``).

vLLM calls :func:`activate` in each of its processes before it loads a model. Nothing happens unless the process serves
a verl rollout on a host without an accelerator. We know of no upstream issue for any of the patches.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

from .detect import cpu_platform_wanted, threads

if TYPE_CHECKING:
    import torch

_active = False


def activate() -> None:
    """Apply the patches, once a process."""
    global _active
    # verl sets this variable in each rollout server; anybody else's vLLM is left as it is.
    if _active or "VERL_REPLICA_RANK" not in os.environ or not cpu_platform_wanted():
        return
    _active = True
    _use_threads()
    _keep_linear_weights()
    _copy_received_weights()


def _use_threads() -> None:
    """Let vLLM compute with as many threads as the driver wants (:data:`~verl_gpo.cpu.detect.THREADS`).

    Reason: Ray gives a worker one thread (OMP_NUM_THREADS=1), and vLLM chooses another number only for workers in
    processes of their own, of which there are none here (``distributed_executor_backend=uni``).
    Remove when: vLLM binds its threads under that executor too.
    """
    import torch

    wanted = threads()
    if wanted:
        torch.set_num_threads(wanted)


def _copy_received_weights() -> None:
    """Hand copies of received weights to vLLM.

    Reason: verl's receiver moves each tensor out of shared memory with ``tensor.to(device)``, which on the CPU is no
    copy. Whoever keeps the tensor then keeps a view of a segment that the sender overwrites, and closing the segment
    raises BufferError.
    Remove when: verl's BucketedWeightReceiver clones what it reads from shared memory.
    """
    from verl.workers.rollout.vllm_rollout.bucketed_weight_transfer import BucketedWeightReceiver

    receive_weights = BucketedWeightReceiver.receive_weights

    @functools.wraps(receive_weights)
    def receive_copies(self: Any, on_bucket_received: Any) -> None:
        def on_copied_bucket(weights: list[tuple[str, torch.Tensor]], is_last: bool) -> None:
            on_bucket_received([(name, tensor.clone()) for name, tensor in weights], is_last)

        receive_weights(self, on_copied_bucket)

    BucketedWeightReceiver.receive_weights = receive_copies


def _keep_linear_weights() -> None:
    """Let vLLM's CPU linear layers keep their weights beside the prepacked copy.

    Reason: vLLM 0.24 prepacks a linear weight for oneDNN and drops the original, so a weight update finds no parameter
    to write to. With the original kept, verl's update writes it, and the processing after loading packs it again.
    Remove when: vLLM's CPU backend supports in-place weight updates.
    """
    import vllm.model_executor.layers.utils as layers

    dispatch = layers.dispatch_cpu_unquantized_gemm

    @functools.wraps(dispatch)
    def dispatch_and_keep(layer: torch.nn.Module, remove_weight: bool) -> None:
        dispatch(layer, remove_weight=False)

    layers.dispatch_cpu_unquantized_gemm = dispatch_and_keep
