"""A silence is reported after its time, then after twice as long; and in words that name who waits."""

import sys
import types

from verl_gpo.plugin.watch.silence import PHASES, Silence, in_words, trainer_phase


def test_a_silence_is_reported_after_its_time_and_then_after_twice_as_long():
    silence = Silence(100.0)
    assert silence.lasts(0.0, "a") is None
    assert silence.lasts(99.0, "a") is None
    assert silence.lasts(100.0, "a") == 100.0
    assert [silence.lasts(t, "a") for t in (101.0, 199.0, 200.0, 399.0, 400.0)] == [None, None, 200.0, None, 400.0]
    assert silence.lasts(401.0, "b") is None  # something has happened
    assert silence.lasts(500.0, "b") is None and silence.lasts(501.0, "b") == 100.0


def test_the_report_names_everyone_who_waits():
    prompts = {"running": 3, "finished": 1, "failed": 0}
    waits = {"agent_loop_worker_0": "3 prompts in value, 96 continuations at the engine", "reward_loop_worker_0": ""}
    assert in_words(300.4, PHASES["sample"], prompts, waits) == (
        "nothing has happened for 300 s: the trainer waits for rollouts; prompts: 3 running, 1 finished; "
        "agent_loop_worker_0: 3 prompts in value, 96 continuations at the engine; idle: reward_loop_worker_0"
    )


def stack(*names, file="/somewhere/verl/trainer/ppo/v1/trainer_base.py"):
    """The frame of the innermost of these functions, which call each other in this order."""
    body = "return sys._getframe()"
    for name in reversed(names):
        body = f"def {name}():\n" + "\n".join("    " + line for line in body.splitlines()) + f"\nreturn {name}()"
    body = body.removeprefix("").rsplit("\n", 1)[0]
    space = {"sys": sys}
    exec(compile(body, file, "exec"), space)  # noqa: S102
    return space[names[0]]()


def test_the_phase_is_the_innermost_function_of_verls_that_has_a_name():
    assert (
        trainer_phase(stack("fit", "step", "_step_once", "on_sample_end", "wrapper", "sleep_replicas", "get"))
        == (PHASES["sleep_replicas"])
    )
    assert trainer_phase(stack("fit", "step", "_step_once")) == "is between two phases"
    assert trainer_phase(stack("init", "_setup")) == PHASES["_setup"]
    assert trainer_phase(stack("run", "init_agent_loop_manager", "create")) == PHASES["init_agent_loop_manager"]


def test_outside_of_a_training_there_is_no_phase():
    assert trainer_phase(None) is None
    assert trainer_phase(stack("run", "close")) is None
    assert trainer_phase(stack("fit", "sample", file="/somewhere/sklearn/base.py")) is None


def test_verls_trainers_have_the_functions():
    """So that a verl that renames one is noticed."""
    from verl.checkpoint_engine.base import CheckpointEngineManager
    from verl.trainer.main_ppo import TaskRunnerV1
    from verl.trainer.ppo.v1.agent_loop_tq import AgentLoopManagerTQ
    from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer
    from verl.trainer.ppo.v1.trainer_base import PPOTrainer

    runner = TaskRunnerV1.__ray_actor_class__
    owners = (PPOTrainer, CheckpointEngineManager, ReplayBuffer, AgentLoopManagerTQ, runner)
    assert [name for name in (*PHASES, "fit", "init") if not any(hasattr(owner, name) for owner in owners)] == []
    assert isinstance(PPOTrainer.fit, types.FunctionType)
