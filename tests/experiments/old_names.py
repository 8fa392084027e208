"""Names of methods as the first pages had them, for the comparison with what those pages said."""

from dataclasses import replace

from scripts.experiments.settings import is_plain

#: Methods that have another name today. ``grpo_tokens`` was GRPO in grids at equal tokens.
METHODS = {"grpo_tokens": "grpo", "informative": "lean", "gpo_ppo": "gpo_paper"}
#: Settings in names of methods, and what they are today.
SETTINGS = {
    "lr": lambda text: {"learning_rate": float(text)},
    "cosine": lambda text: {"learning_rate": float(text), "schedule": "cosine"},
    "clip": lambda text: {"clip_grad": float(text)},
    "mini_batch": lambda text: {"mini_batches": 2},  # all of them were half of the prompts
    "half": lambda text: {"rollouts": 4},
    "even": lambda text: {"added_rows": "even"},
    "rows": lambda text: {"rows_mode": text},
    "prompts": lambda text: {"prompts": int(text)},
    "n_mc": lambda text: {"n_mc": int(text)},
    "n_reentry": lambda text: {"n_reentry": int(text)},
    "search_budget": lambda text: {"search_budget": int(text)},
    "explore_share": lambda text: {"explore_share": float(text)},
}


def renamed(grid, regime, name, optimizer="grpo"):
    """Method and settings of a row whose method was ``name``, a string as ``grpo:n=4:cosine=4e-3:clip=0.1``."""
    old, *parts = name.split(":")
    method = METHODS.get(old, old)
    if old == "gpo_ppo":
        optimizer = "ppo"
    if is_plain(method):
        optimizer = method
    settings = grid.base(method, regime, optimizer)
    changed = {"optimizer": optimizer}
    for part in parts:
        key, _, text = part.partition("=")
        if key == "n":  # twice the prompts where the rollouts are half, as many where they are 6
            changed |= {"rollouts": int(text)} | ({"prompts": 4} if text == "4" else {})
        else:
            changed |= SETTINGS[key](text) if key in SETTINGS else {key: text}
    # Two variants had prompts of their own, which their names did not say.
    if grid.grid == "tokens" and parts and not name.endswith("argmax"):
        changed["prompts"] = 9 if "explore_share" in name else 8
    return method, replace(settings, **changed)
