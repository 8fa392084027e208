"""Preference pairs of token ids, and the settings of a training on them."""

from verl_gpo.offline.train_settings import make_settings, parse_args

# Ids that no text gives: the end token (256) within, and one byte (226) of a character of three.
# Chosen and rejected of one pair are of different lengths; the second chosen one was cut off, and has no end token.
PAIRS = [
    {"prompt_ids": [97, 256, 226], "chosen_ids": [65, 130, 66, 256], "rejected_ids": [172, 256]},
    {"prompt_ids": [98, 10, 10, 99], "chosen_ids": [100, 101], "rejected_ids": [102, 256, 103, 104, 256]},
    {"prompt_ids": [32], "chosen_ids": [7, 256], "rejected_ids": [8, 256]},
    {"prompt_ids": [33, 34], "chosen_ids": [35, 256], "rejected_ids": [36, 37, 256]},
]
SINGLES = [
    {"prompt_ids": pair["prompt_ids"], "completion_ids": pair[f"{side}_ids"], "label": side == "chosen"}
    for pair in PAIRS
    for side in ("chosen", "rejected")
]
QUICK = ["max_steps=2", "per_device_train_batch_size=4", "gradient_checkpointing=false", "save_strategy=no"]
QUICK += ["logging_steps=1", "learning_rate=1e-3"]


def settings_of(arguments):
    return make_settings(parse_args(arguments))


def learnt(ids, mask):
    """Token ids of a row, split into context and what bears loss; padding is left out."""
    ids, mask = ids.tolist(), mask.tolist()
    first = mask.index(1)
    last = len(mask) - mask[::-1].index(1)
    assert all(mask[first:last])
    return ids[:first], ids[first:last]
