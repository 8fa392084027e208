"""``core`` and ``config`` import no framework; proven in a process of its own, on everything they pull in."""

import subprocess
import sys

PROGRAM = """
import importlib, pkgutil, sys
import verl_gpo, verl_gpo.config, verl_gpo.core
for module in pkgutil.walk_packages(verl_gpo.core.__path__, "verl_gpo.core."):
    importlib.import_module(module.name)
frameworks = {"verl", "ray", "vllm", "hydra", "omegaconf", "transformers", "tensordict"}
print(sorted(frameworks & {name.partition(".")[0] for name in sys.modules}))
"""


def test_core_imports_no_framework():
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"
