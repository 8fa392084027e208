"""What a user may hand in and cannot work: the command, its exit code, and the one line that it says."""

import os
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY
from verl_gpo.plan.__main__ import main

ROLLOUT = "actor_rollout_ref.rollout"
PACKAGED = ("--config-path", "pkg://verl_gpo.trainer.config", "--config-name", "gpo_trainer")
#: verl's own configuration, as in an example of verl's.
STOCK = ("--config-path", "pkg://verl.trainer.config", "--config-name", "ppo_trainer")
RUN = (
    "data.train_files=a.parquet",
    "data.val_files=b.parquet",
    "actor_rollout_ref.model.path=Qwen/Qwen2.5-0.5B-Instruct",
    f"{ROLLOUT}.name=vllm",
    f"{ROLLOUT}.n=8",
)
NO_EFFECT = "has no effect: verl's own rollout worker neither searches nor re-enters."

#: (configuration, overrides) -> how the line begins.
REFUSED = {
    (STOCK, "algorithm.adv_estimator=gpo", "+algorithm.gpo.n_mc=8"): f"algorithm.gpo.n_mc=8: {NO_EFFECT}",
    (STOCK, "algorithm.adv_estimator=grpo", "+algorithm.gpo.n_mc=8"): f"algorithm.gpo.n_mc=8: {NO_EFFECT}",
    (
        PACKAGED,
        "custom_reward_function.path=r.py",
    ): "custom_reward_function.path='r.py': verl 0.9.1 does not read it; set reward.custom_reward_function.path",
    (
        PACKAGED,
        "reward_model.reward_manager=dapo",
    ): "reward_model.reward_manager='dapo': verl 0.9.1 does not read it; set reward.reward_manager.name",
    (PACKAGED, "data.max_response_length=null"): "data.max_response_length=None: must be an integer of at least 1",
    (PACKAGED, f"{ROLLOUT}.name=???"): f"{ROLLOUT}.name=None: must be the name of a rollout engine",
    (PACKAGED, f"{ROLLOUT}.temperature=0"): f"{ROLLOUT}.temperature=0: must be a number above 0",
    (PACKAGED, "trainer.n_gpus_per_node=0"): "trainer.n_gpus_per_node=0: must be an integer of at least 1",
    (
        PACKAGED,
        "trainer.n_gpus_per_node=3",
    ): "trainer.n_gpus_per_node=3: 3 GPUs cannot be divided into rollout engines of 2",
    (PACKAGED, "trainer.resume_mode=resume_path"): "trainer.resume_from_path=None: must be a checkpoint's folder",
    (
        PACKAGED,
        "algorithm.gpo.splitter=regex",
        "algorithm.gpo.splitter_option='(x'",
    ): "algorithm.gpo.splitter_option='(x': regex needs a Python regular expression",
    (PACKAGED, "algorithm.gpo.splitter_option=[a]"): "algorithm.gpo.splitter_option=['a']: must be a text or a number",
    (PACKAGED, "actor_rollout_ref.model.path=/step=3/hf"): "actor_rollout_ref.model.path=/step=3/hf: Hydra cannot "
    "read it (mismatched input '=' expecting <EOF>); a value with signs in it is quoted",
    (PACKAGED, "algorithm.gpo.n_mcc=8"): "algorithm.gpo.n_mcc=8: no such key; did you mean algorithm.gpo.n_mc?",
}


@pytest.mark.parametrize("given", REFUSED, ids=lambda given: " ".join(given[1:]))
def test_the_plan_refuses_it_in_one_line(capsys, given):
    configuration, *overrides = given
    assert main(["--quick", *configuration, *RUN, *overrides]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith(f"verl_gpo: {REFUSED[given]}")
    assert captured.err.count("\n") == 1


def test_a_plain_run_is_planned_as_what_it_is(capsys):
    assert main(["--quick", *STOCK, *RUN, "algorithm.adv_estimator=grpo"]) == 0
    said = capsys.readouterr().out
    assert "plain: no search, no re-entry" in said and "twin" not in said
    rows = {line.partition("  ")[0]: line.split()[-1] for line in said.splitlines() if line.startswith("tokens, ")}
    assert rows["tokens, Monte Carlo values"] == rows["tokens, re-entry"] == "0"
    assert rows["tokens, all"] == rows["tokens, root"] != "0"


@pytest.mark.parametrize("arguments", [["--steps", "0", "--response-tokens", "9"], ["--steps", "4"]])
def test_a_number_that_is_none_is_refused_without_a_configuration(capsys, arguments):
    try:
        code = main(arguments)
    except SystemExit as stopped:
        code = stopped.code
    assert code and "Traceback" not in (said := capsys.readouterr().err)
    assert ("steps=0: must be at least 1" in said) or ("give both, or neither" in said)


#: The same through verl's own command, and what only it can say: 15 seconds each for the import of verl.
RUN_ITSELF = [
    ((STOCK, "algorithm.adv_estimator=gpo", "+algorithm.gpo.n_mc=8"), f"algorithm.gpo.n_mc=8: {NO_EFFECT}"),
    ((PACKAGED, "data.max_response_length=null"), "data.max_response_length=None: must be an integer of at least 1"),
    ((PACKAGED, "trainer.logger=console"), "data.train_files='a.parquet': no such file or folder"),
    (
        # What verl itself refuses, in its own words: micro-batches that nothing bounds.
        (PACKAGED, "trainer.logger=console", "data.train_files={rows}"),
        "[actor] Please set at least one of 'actor.ppo_micro_batch_size'",
    ),
]


@pytest.mark.parametrize(("given", "said"), RUN_ITSELF, ids=[given[-1] for given, _ in RUN_ITSELF])
def test_a_run_ends_with_the_line_before_ray_starts(tmp_path, tiny_run, given, said):
    configuration, *overrides = (
        item.format(rows=f"{tiny_run}/train.parquet") if isinstance(item, str) else item for item in given
    )
    validation = [f"data.val_files={tiny_run}/test.parquet", "data.train_batch_size=4"]
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "verl.trainer.main_ppo",
            *configuration,
            *RUN,
            *validation,
            *overrides,
            "hydra.run.dir=.",
        ],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
        env={
            **{name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
            "PYTHONPATH": str(REPOSITORY),
            "RAY_TMPDIR": f"{tmp_path}/ray",
        },
    )
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert result.stderr.splitlines()[-1].startswith(f"verl_gpo: {said}"), result.stderr[-2000:]
    assert not (tmp_path / "ray").exists()
