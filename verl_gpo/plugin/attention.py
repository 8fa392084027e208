"""Training without flash-attn: torch's own attention takes its place.

flash-attn has no wheel on PyPI and may take hours to compile. verl uses it by default, but can also train without it:
models are loaded with ``attn_implementation=sdpa``, and rows are padded instead of packed.
"""

from __future__ import annotations

import functools
import importlib.util
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from ..config import ConfigError
from ..cpu.detect import cpu_platform_wanted

_WANTS = "flash_attention_2"
#: The cost of this for a run, printed with the changes.
COST = (
    "each micro-batch is padded to its longest row, and padding takes time and memory like other tokens: if the "
    "longest row is twice as long as the mean, update and log-probs take up to twice the time and memory. On "
    "out-of-memory halve actor_rollout_ref.actor.ppo_max_token_len_per_gpu. The results stay the same"
)


def flash_attention_installed() -> bool:
    """Whether flash-attn is installed; it is not imported."""
    return importlib.util.find_spec("flash_attn") is not None


def adapt_to_missing_flash_attention(config: DictConfig) -> list[str]:
    """Change ``config`` in place so that FSDP trains without flash-attn, if it is not installed.

    Settings that the user changed from verl's defaults are kept: if ``attn_implementation`` is set, nothing is changed.

    Returns:
        One line ``key: old -> new`` for each setting that changed.

    Raises:
        ConfigError: a setting that needs flash-attn.
    """
    lines: list[str] = []
    if flash_attention_installed():
        return lines
    actor = str(OmegaConf.select(config, "actor_rollout_ref.actor.strategy"))
    critic = str(OmegaConf.select(config, "critic.strategy"))
    for block, strategy, parallel in (
        ("actor_rollout_ref", actor, "actor_rollout_ref.actor.ulysses_sequence_parallel_size"),
        ("critic", critic, "critic.ulysses_sequence_parallel_size"),
    ):
        # Megatron has its own attention.
        if strategy in ("fsdp", "fsdp2") and OmegaConf.select(config, f"{block}.model") is not None:
            lines += _adapt(config, f"{block}.model", parallel)
    return lines


def _adapt(config: DictConfig, model: str, parallel: str) -> list[str]:
    key = f"{model}.override_config.attn_implementation"
    named = OmegaConf.select(config, key)
    if named == _WANTS:
        raise ConfigError(key, named, "flash-attn is not installed; sdpa, or leave it out")
    if named is not None:
        return []
    size = OmegaConf.select(config, parallel)
    if isinstance(size, int) and size > 1:
        raise ConfigError(parallel, size, "must be 1 without flash-attn, which is not installed: it needs packed rows")
    packs = f"{model}.use_remove_padding"
    lines = [f"{key}: {_WANTS} -> sdpa"]
    with open_dict(config):
        OmegaConf.update(config, key, "sdpa", force_add=True)
        if OmegaConf.select(config, packs):
            OmegaConf.update(config, packs, False)
            lines.append(f"{packs}: True -> False")
    return lines


def load_critics_without_flash_attention() -> None:
    """Load a critic with torch's own attention.

    Reason: verl 0.9.1 asks for FlashAttention when it loads a critic, whatever its configuration says.
    Upstream: https://github.com/verl-project/verl/issues/5210.
    Remove when: verl reads ``critic.model.override_config.attn_implementation``, which is set to ``sdpa`` here and in
    :mod:`verl_gpo.cpu.settings`.
    """
    import verl.utils.model as model

    @functools.wraps(model.load_valuehead_model)
    def load_valuehead_model(local_path: str, torch_dtype: Any, model_config: Any, trust_remote_code: bool) -> Any:
        from transformers import AutoModelForTokenClassification

        return AutoModelForTokenClassification.from_pretrained(
            local_path,
            dtype=torch_dtype,
            config=model_config,
            attn_implementation="sdpa",
            trust_remote_code=trust_remote_code,
        )

    model.load_valuehead_model = load_valuehead_model


def activate() -> None:
    """Called by verl's plugin loader, in every process."""
    if cpu_platform_wanted() or not flash_attention_installed():
        load_critics_without_flash_attention()
