"""A broken environment: exit 1, and the line that names what is broken. Each defect is put before what is there."""

import json
import os
import subprocess
import sys

from tests.conftest import REPOSITORY


def metadata(folder, name, version, requires=()):
    """Installed metadata of a distribution, and nothing else of it."""
    place = folder / f"{name}-{version}.dist-info"
    place.mkdir()
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (place / "METADATA").write_text(text + "".join(f"Requires-Dist: {line}\n" for line in requires))


def broken(folder, name, statement):
    """A package that cannot be imported."""
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(statement + "\n")


def doctor(folder, *checks):
    """The exit code, and the findings by name, with ``folder`` in front of what is installed."""
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{REPOSITORY}"}
    command = [sys.executable, "-m", "verl_gpo.doctor", "--json", "--only", *checks]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, timeout=600)
    assert result.stdout, result.stderr
    return result.returncode, {item["name"]: item for item in json.loads(result.stdout)["findings"]}


def test_torch_without_its_libraries(tmp_path):
    message = "libcudart.so.13: cannot open shared object file: No such file or directory"
    broken(tmp_path, "torch", f"raise OSError({message!r})")
    code, found = doctor(tmp_path, "torch", "disk")
    assert code == 1
    assert found["torch"]["state"] == "WRONG" and message in found["torch"]["found"]
    assert found["disk"]["state"] == "ok"


def test_vllm_built_for_another_torch(tmp_path):
    broken(tmp_path, "vllm", "raise ImportError('_C.abi3.so: undefined symbol: _ZN3c10')")
    code, found = doctor(tmp_path, "vllm")
    assert code == 1 and "undefined symbol: _ZN3c10" in found["vLLM"]["found"]


def test_a_transfer_queue_that_cannot_be_imported(tmp_path):
    broken(tmp_path, "transfer_queue", "import no_such_module")
    code, found = doctor(tmp_path, "transferqueue")
    assert code == 1 and "No module named 'no_such_module'" in found["TransferQueue"]["found"]


def test_ray_that_does_not_start(tmp_path):
    (tmp_path / "ray.py").write_text("def init(**settings):\n    raise RuntimeError('the raylet did not start')\n")
    code, found = doctor(tmp_path, "ray")
    assert code == 1 and found["Ray"]["state"] == "WRONG"
    assert "the raylet did not start" in found["Ray"]["found"] and "RAY_TMPDIR" in found["Ray"]["remedy"]


def test_a_version_that_is_not_the_pinned_one(tmp_path):
    metadata(tmp_path, "transformers", "4.9.9")
    code, found = doctor(tmp_path, "versions")
    assert code == 1
    assert "transformers 4.9.9 (must be 5.9.0)" in found["versions"]["found"]


def test_the_plugin_is_not_registered(tmp_path):
    """A verl_gpo without entry points hides the one that is installed."""
    metadata(tmp_path, "verl_gpo", "0.1.0")
    code, found = doctor(tmp_path, "verl")
    assert code == 1 and found["verl"]["state"] == "ok"
    assert found["plugin"]["state"] == "WRONG"
    assert "verl does not know adv_estimator=gpo: it is not among the plugins" in found["plugin"]["found"]
