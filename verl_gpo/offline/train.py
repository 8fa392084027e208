"""Train on preference pairs with TRL's trainers: DPO, KTO, SimPO, ORPO.

    python -m verl_gpo.offline.train --method dpo --model M --pairs BUILD --out DIR learning_rate=1e-6 beta=0.1

For several GPUs start it with accelerate: ``accelerate launch --config_file recipes/accelerate/fsdp.yaml -m
verl_gpo.offline.train ...``. The model is saved to ``DIR`` in Hugging Face format.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from ..inference import jsonl
from .train_settings import METHODS, RESULT, TrainSettings, make_settings, parse_args


def build_trainer(settings: TrainSettings) -> Any:
    """TRL's trainer of the method, with model, tokenizer and data."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import get_peft_config, get_quantization_config

    from . import trainers

    method, args, model_args = METHODS[settings.method], settings.args, settings.model_args
    how = {
        "revision": model_args.model_revision,
        "attn_implementation": model_args.attn_implementation,
        "dtype": model_args.dtype,
        **(args.model_init_kwargs or {}),
    }
    quantization = get_quantization_config(model_args)
    if quantization is not None:
        how["quantization_config"] = quantization
    tokenizer = AutoTokenizer.from_pretrained(
        settings.model, revision=model_args.model_revision, trust_remote_code=args.trust_remote_code
    )
    if method.forms_model:
        args.model_init_kwargs, model = how, settings.model
    else:
        # By default this trainer spreads the model over all visible devices, which does not work with FSDP.
        args.model_init_kwargs = None
        model = AutoModelForCausalLM.from_pretrained(settings.model, trust_remote_code=args.trust_remote_code, **how)
    rows = Dataset.from_dict(settings.columns)
    if settings.method == "kto":
        # KTO uses its rows in order, and its KL term needs rows of different prompts next to each other.
        rows = rows.shuffle(seed=args.seed)
    return getattr(trainers, method.trainer)(
        model=model,
        args=args,
        train_dataset=rows,
        eval_dataset=Dataset.from_dict(settings.eval_columns) if settings.eval_columns else None,
        processing_class=tokenizer,
        peft_config=get_peft_config(model_args),
    )


def train(settings: TrainSettings) -> dict[str, Any]:
    """Train and save. Returns the content of ``train.json``."""
    args = settings.args
    trainer = build_trainer(settings)
    outcome = trainer.train(resume_from_checkpoint=settings.resume)
    trainer.save_model(str(settings.out))
    result = {
        "method": settings.method,
        "model": settings.model,
        "pairs": str(settings.pairs),
        "rows": len(next(iter(settings.columns.values()))),
        "rows_dropped": settings.dropped,
        "continuations_cut": settings.cut,
        "optimizer_steps": trainer.state.global_step,
        "batch_size": args.train_batch_size * args.gradient_accumulation_steps * args.world_size,
        "seconds": outcome.metrics["train_runtime"],
        "loss": outcome.training_loss,
        "log": trainer.state.log_history,
    }
    trainer.accelerator.wait_for_everyone()
    if trainer.accelerator.is_main_process:
        if settings.merge:
            merge_adapter(settings)
        jsonl.replace(settings.out / RESULT, [json.dumps(result, indent=1) + "\n"])
    return result


def merge_adapter(settings: TrainSettings) -> None:
    """Write the model with its adapter merged to ``OUT/merged``, as engines and evaluation read it."""
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoTokenizer

    merged = AutoPeftModelForCausalLM.from_pretrained(settings.out, dtype=settings.model_args.dtype).merge_and_unload()
    merged.save_pretrained(settings.out / "merged")
    AutoTokenizer.from_pretrained(settings.model).save_pretrained(settings.out / "merged")


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        settings = make_settings(args)
    except ValueError as error:
        print(f"verl_gpo: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    first = settings.args.process_index == 0
    if first and (settings.dropped or settings.cut):
        print(
            f"verl_gpo: warning: max_length={settings.args.max_length}: {settings.dropped} rows dropped, "
            f"{settings.cut} continuations cut",
            file=sys.stderr,
        )
    result = train(settings)
    if first:
        print(json.dumps({key: value for key, value in result.items() if key != "log"}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
