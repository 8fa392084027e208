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
from .train_plan import METHODS, RESULT, TrainPlan, make_plan, parse_args


def build_trainer(plan: TrainPlan) -> Any:
    """TRL's trainer of the method, with model, tokenizer and data."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import get_peft_config, get_quantization_config

    from . import trainers

    method, args, model_args = METHODS[plan.method], plan.args, plan.model_args
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
        plan.model, revision=model_args.model_revision, trust_remote_code=args.trust_remote_code
    )
    if method.forms_model:
        args.model_init_kwargs, model = how, plan.model
    else:
        # Left to itself, this trainer spreads the model over all devices that it sees, which FSDP cannot use.
        args.model_init_kwargs = None
        model = AutoModelForCausalLM.from_pretrained(plan.model, trust_remote_code=args.trust_remote_code, **how)
    rows = Dataset.from_dict(plan.columns)
    if plan.method == "kto":
        # KTO goes through its rows in order, and needs other prompts beside one for its KL term.
        rows = rows.shuffle(seed=args.seed)
    return getattr(trainers, method.trainer)(
        model=model,
        args=args,
        train_dataset=rows,
        eval_dataset=Dataset.from_dict(plan.eval_columns) if plan.eval_columns else None,
        processing_class=tokenizer,
        peft_config=get_peft_config(model_args),
    )


def train(plan: TrainPlan) -> dict[str, Any]:
    """Train and save. Returns what ``train.json`` says."""
    trainer = build_trainer(plan)
    resume = {"true": True, "True": True}.get(plan.args.resume_from_checkpoint, plan.args.resume_from_checkpoint)
    outcome = trainer.train(resume_from_checkpoint=resume)
    trainer.save_model(str(plan.out))
    result = {
        "method": plan.method,
        "model": plan.model,
        "pairs": str(plan.pairs),
        "rows": len(next(iter(plan.columns.values()))),
        "rows_dropped": plan.dropped,
        "continuations_cut": plan.cut,
        "optimizer_steps": trainer.state.global_step,
        "batch_size": plan.args.train_batch_size * plan.args.gradient_accumulation_steps * plan.args.world_size,
        "seconds": outcome.metrics["train_runtime"],
        "loss": outcome.training_loss,
        "log": trainer.state.log_history,
    }
    trainer.accelerator.wait_for_everyone()
    if trainer.accelerator.is_main_process:
        if plan.merge:
            merge_adapter(plan)
        jsonl.replace(plan.out / RESULT, [json.dumps(result, indent=1) + "\n"])
    return result


def merge_adapter(plan: TrainPlan) -> None:
    """Write the model with its adapter merged to ``OUT/merged``, as engines and evaluation read it."""
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoTokenizer

    merged = AutoPeftModelForCausalLM.from_pretrained(plan.out, dtype=plan.model_args.dtype).merge_and_unload()
    merged.save_pretrained(plan.out / "merged")
    AutoTokenizer.from_pretrained(plan.model).save_pretrained(plan.out / "merged")


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        plan = make_plan(args)
    except ValueError as error:
        print(f"verl_gpo: {error}", file=sys.stderr)
        return 1
    first = plan.args.process_index == 0
    if first and (plan.dropped or plan.cut):
        print(
            f"verl_gpo: warning: max_length={plan.args.max_length}: {plan.dropped} rows dropped, {plan.cut} "
            "continuations cut",
            file=sys.stderr,
        )
    result = train(plan)
    if first:
        print(json.dumps({key: value for key, value in result.items() if key != "log"}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
