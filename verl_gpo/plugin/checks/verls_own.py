"""verl's own checks of a configuration, without a run."""

from __future__ import annotations

import contextlib
import io

from omegaconf import DictConfig, OmegaConf

from .unknown_keys import check_known
from .validate import VERLS_OWN, in_one_line


def verl_refuses(config: DictConfig) -> str | None:
    """Why verl, or the check of its keys, refuses a configuration, in one line; None if the configuration is accepted.

    Imports verl, which takes about 15 seconds on a slow host.
    """
    import verl.utils.config as verl_config
    from verl.trainer.ppo.utils import need_critic, need_reference_policy

    # The plugin wraps verl's function to adapt a configuration to this host; this one is for the host of the run.
    validate = getattr(verl_config.validate_config, "__wrapped__", verl_config.validate_config)
    try:
        resolved = OmegaConf.create(OmegaConf.to_container(config, resolve=True))
        check_known(resolved)
        resolved.critic.model.pop("_target_")  # otherwise verl would build this block, and load the model for it
        reference, critic = need_reference_policy(resolved), need_critic(resolved)
        with contextlib.redirect_stdout(io.StringIO()):
            validate(resolved, use_reference_policy=reference, use_critic=critic)
    except VERLS_OWN as error:
        return in_one_line(error)
    return None
