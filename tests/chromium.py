"""A Chromium for the browser tests, where the machine has none.

    python -m tests.chromium          # says which one is used; fetches one first if there is none

Taken in this order: the one that ``VERL_GPO_CHROMIUM`` names, one on the ``PATH``, the one that this command fetched,
that of ``playwright install chromium``. What is fetched is the npm package ``@sparticuz/chromium``: it needs neither
root nor anything of the system's but npm, and is kept in the Python environment.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

PACKAGE = "@sparticuz/chromium@147.0.0"
FOLDER = Path(sys.prefix) / "chromium"
#: Decompresses the files that it is given, in node, which npm needs anyway.
_DECOMPRESS = """
const {readFileSync, writeFileSync} = require("fs"), {brotliDecompressSync} = require("zlib");
for (const path of process.argv.slice(1)) writeFileSync(path.slice(0, -3), brotliDecompressSync(readFileSync(path)));
"""
NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
#: Tests run in containers, as root, without a GPU and without a network.
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")


@dataclass(frozen=True)
class Chromium:
    """Where the browser is, and the environment that it needs beside the usual."""

    path: str
    environment: dict[str, str] = field(default_factory=dict)

    def launch(self, playwright):
        """The browser, by Playwright."""
        return playwright.chromium.launch(
            executable_path=self.path, args=list(ARGUMENTS), env={**os.environ, **self.environment}
        )


def find() -> Chromium | None:
    """The browser of this machine, or None."""
    named = os.environ.get("VERL_GPO_CHROMIUM")
    installed = [named] if named else [shutil.which(name) for name in NAMES]
    for path in (path for path in installed if path):
        return Chromium(path)
    if (FOLDER / "complete").exists():
        environment = {"LD_LIBRARY_PATH": f"{FOLDER}/lib", "FONTCONFIG_FILE": f"{FOLDER}/fonts.conf"}
        return Chromium(str(FOLDER / "chromium"), environment)
    bundled = _of_playwright()
    return Chromium(bundled) if bundled else None


def _of_playwright() -> str | None:
    if importlib.util.find_spec("playwright") is None:
        return None
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if path and Path(path).exists() else None


def fetch() -> None:
    """Unpack the npm package into :data:`FOLDER`.

    Raises:
        RuntimeError: there is no npm, or it does not get the package.
    """
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        raise RuntimeError("no browser, and no npm to get one with")
    with tempfile.TemporaryDirectory() as folder:
        package = _run(npm, "pack", "--silent", PACKAGE, cwd=folder).split()[-1]
        _extract(Path(folder) / package, folder)
        parts = Path(folder) / "package" / "bin"
        _run(node, "-e", _DECOMPRESS, *map(str, parts.glob("*.br")), cwd=folder)
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir(parents=True)
        shutil.move(parts / "chromium", FOLDER / "chromium")
        for archive in parts.glob("*.tar"):
            _extract(archive, FOLDER)
    (FOLDER / "chromium").chmod(0o755)
    (FOLDER / "fonts.conf").write_text(_fonts(), encoding="utf-8")
    (FOLDER / "complete").touch()


def _extract(archive: Path, folder: str | Path) -> None:
    with tarfile.open(archive) as tar:
        # Not every release of 3.10 and 3.11 has filters.
        safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        tar.extractall(folder, **safely)


def _run(*command: str, cwd: str) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:2])}: {done.stderr.strip()}")
    return done.stdout


def _fonts() -> str:
    """The package's fonts, and matplotlib's, which have a monospaced one and more symbols."""
    import matplotlib

    folders = (f"{FOLDER}/fonts", Path(matplotlib.get_data_path()) / "fonts" / "ttf")
    families = {"sans-serif": ("Open Sans", "DejaVu Sans"), "monospace": ("DejaVu Sans Mono",)}
    aliases = (
        f"<alias><family>{name}</family><prefer>{''.join(f'<family>{one}</family>' for one in order)}</prefer></alias>"
        for name, order in families.items()
    )
    places = "".join(f"<dir>{folder}</dir>" for folder in folders)
    cache = f"<cachedir>{FOLDER}/fonts-cache</cachedir>"
    return f'<?xml version="1.0"?><fontconfig>{places}{cache}{"".join(aliases)}</fontconfig>\n'


def main() -> None:
    browser = find()
    if browser is None:
        try:
            fetch()
        except RuntimeError as error:
            print(f"{error}: the browser tests will be skipped")
            return
        browser = find()
    print(browser.path)


if __name__ == "__main__":
    main()
