"""Without flash-attn a GPU run takes torch's own attention and padded rows, says so, and refuses what needs it."""

import pytest
from omegaconf import OmegaConf

from verl_gpo.config import ConfigError
from verl_gpo.plugin import attention
from verl_gpo.plugin.attention import adapt_to_missing_flash_attention
from verl_gpo.plugin.checks import accelerators, validate

ACTOR, CRITIC = "actor_rollout_ref.model", "critic.model"
FSDP = ("actor_rollout_ref.actor.strategy=fsdp2", "critic.strategy=fsdp2")


@pytest.fixture
def without(monkeypatch):
    monkeypatch.setattr(attention, "flash_attention_installed", lambda: False)


@pytest.fixture
def with_it(monkeypatch):
    monkeypatch.setattr(attention, "flash_attention_installed", lambda: True)


def test_where_it_is_installed_nothing_changes(compose, with_it):
    config = compose(*FSDP, f"{ACTOR}.use_remove_padding=true")
    before = OmegaConf.to_container(config, resolve=False)
    assert adapt_to_missing_flash_attention(config) == []
    assert OmegaConf.to_container(config, resolve=False) == before


def test_actor_and_critic_are_changed_and_each_change_is_told(compose, without):
    config = compose(*FSDP, f"{ACTOR}.use_remove_padding=true", f"{CRITIC}.use_remove_padding=true")
    assert adapt_to_missing_flash_attention(config) == [
        f"{ACTOR}.override_config.attn_implementation: flash_attention_2 -> sdpa",
        f"{ACTOR}.use_remove_padding: True -> False",
        f"{CRITIC}.override_config.attn_implementation: flash_attention_2 -> sdpa",
        f"{CRITIC}.use_remove_padding: True -> False",
    ]
    for block in (ACTOR, CRITIC):
        assert OmegaConf.select(config, f"{block}.override_config.attn_implementation") == "sdpa"
        assert OmegaConf.select(config, f"{block}.use_remove_padding") is False
    assert adapt_to_missing_flash_attention(config) == []  # what was changed once is the user's


def test_an_attention_that_is_named_is_kept(compose, without):
    named = [f"+{block}.override_config.attn_implementation=eager" for block in (ACTOR, CRITIC)]
    config = compose(*FSDP, *named, f"{ACTOR}.use_remove_padding=true")
    assert adapt_to_missing_flash_attention(config) == []
    assert OmegaConf.select(config, f"{ACTOR}.use_remove_padding") is True


def test_megatron_has_its_own(compose, without):
    assert adapt_to_missing_flash_attention(compose("model_engine=megatron")) == []


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            [f"+{ACTOR}.override_config.attn_implementation=flash_attention_2"],
            "attn_implementation='flash_attention_2': flash-attn is not installed; sdpa, or leave it out",
        ),
        (
            ["actor_rollout_ref.actor.ulysses_sequence_parallel_size=2"],
            "actor_rollout_ref.actor.ulysses_sequence_parallel_size=2: must be 1 without flash-attn",
        ),
    ],
)
def test_what_needs_it_is_refused_by_name(compose, without, overrides, said):
    with pytest.raises(ConfigError) as refused:
        adapt_to_missing_flash_attention(compose(*FSDP, *overrides))
    assert said in str(refused.value)


def test_a_run_on_a_gpu_prints_changes_and_cost(compose, run_overrides, without, monkeypatch, capsys):
    monkeypatch.setattr(accelerators, "cpu_platform_wanted", lambda: False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    config = compose(*run_overrides, *FSDP, f"{ACTOR}.use_remove_padding=true")
    validate.prepare(config)
    said = capsys.readouterr().out
    assert f"{ACTOR}.use_remove_padding: True -> False" in said and f"cost: {attention.COST}" in said
    validate.prepare(config)
    assert capsys.readouterr().out == ""


def test_critics_load_with_torchs_own_attention(tmp_path, monkeypatch):
    import verl.utils.model as model
    from transformers import AutoConfig, Qwen2Config, Qwen2ForTokenClassification

    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 1}
    small = Qwen2Config(vocab_size=8, num_key_value_heads=1, num_labels=1, **sizes)
    Qwen2ForTokenClassification(small).save_pretrained(tmp_path)
    monkeypatch.setattr(model, "load_valuehead_model", model.load_valuehead_model)
    attention.load_critics_without_flash_attention()
    config = AutoConfig.from_pretrained(tmp_path, num_labels=1)
    loaded = model.load_valuehead_model(str(tmp_path), "float32", config, trust_remote_code=False)
    assert loaded.config._attn_implementation == "sdpa" and loaded.score.out_features == 1


@pytest.mark.parametrize(
    ("cpu", "installed", "patched"), [(True, True, 1), (True, False, 1), (False, False, 1), (False, True, 0)]
)
def test_critics_are_patched_where_flash_attention_cannot_run(monkeypatch, cpu, installed, patched):
    calls = []
    monkeypatch.setattr(attention, "cpu_platform_wanted", lambda: cpu)
    monkeypatch.setattr(attention, "flash_attention_installed", lambda: installed)
    monkeypatch.setattr(attention, "load_critics_without_flash_attention", lambda: calls.append(1))
    attention.activate()
    assert len(calls) == patched
