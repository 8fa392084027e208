"""verl's own checks of a configuration, without a run."""

from __future__ import annotations

import contextlib
import io

from omegaconf import DictConfig, OmegaConf

from .unknown_keys import check_known
from .validate import VERLS_OWN, in_one_line


def verl_refuses(config: DictConfig) -> str | None:
    """What verl, or the look at its keys, has against a configuration, in one line; None where it takes it.

    Imports verl, which takes a quarter of a minute on a slow host.
    """
    import verl.utils.config as verl_config
    from verl.trainer.ppo.utils import need_critic, need_reference_policy

    # The plugin wraps verl's function to adapt a configuration to this host; this one is for the host of the run.
    validate = getattr(verl_config.validate_config, "__wrapped__", verl_config.validate_config)
    try:
        resolved = OmegaConf.create(OmegaConf.to_container(config, resolve=True))
        check_known(resolved)
        resolved.critic.model.pop("_target_")  # verl would make it, and for that load the model
        reference, critic = need_reference_policy(resolved), need_critic(resolved)
        with contextlib.redirect_stdout(io.StringIO()):
            validate(resolved, use_reference_policy=reference, use_critic=critic)
    except VERLS_OWN as error:
        return in_one_line(error)
    return None
