"""A Chromium for the browser tests, where the machine has none.

    python scripts/chromium.py          # says which one is used; fetches one first if there is none

Taken in this order: the one that ``VERL_GPO_CHROMIUM`` names, one on the ``PATH``, the one that this command fetched,
that of ``playwright install chromium``. What is fetched is the npm package ``@sparticuz/chromium``: it needs neither
root nor anything of the system's but npm, and is kept in the Python environment.
"""

from __future__ import annotations

import importlib.util
import io
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
    import brotli

    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError("no browser, and no npm to get one with")
    with tempfile.TemporaryDirectory() as folder:
        packed = subprocess.run([npm, "pack", "--silent", PACKAGE], cwd=folder, capture_output=True, text=True)
        if packed.returncode:
            raise RuntimeError(f"npm pack {PACKAGE}: {packed.stderr.strip()}")
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir(parents=True)
        with tarfile.open(Path(folder) / packed.stdout.split()[-1]) as package:
            parts = {
                Path(member.name).name: brotli.decompress(package.extractfile(member).read())
                for member in package.getmembers()
                if member.name.startswith("package/bin/")
            }
    (FOLDER / "chromium").write_bytes(parts.pop("chromium.br"))
    (FOLDER / "chromium").chmod(0o755)
    for archive in parts.values():
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(FOLDER, filter="data")
    (FOLDER / "fonts.conf").write_text(_fonts(), encoding="utf-8")
    (FOLDER / "complete").touch()


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
        except (RuntimeError, ImportError) as error:
            print(f"{error}: the browser tests will be skipped")
            return
        browser = find()
    print(browser.path)


if __name__ == "__main__":
    main()
