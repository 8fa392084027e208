"""Where the browser of the browser tests comes from."""

import pytest

from tests import chromium


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine without a browser, without Playwright's and without npm."""
    monkeypatch.delenv("VERL_GPO_CHROMIUM", raising=False)
    monkeypatch.setattr(chromium.shutil, "which", lambda name: None)
    monkeypatch.setattr(chromium, "_of_playwright", lambda: None)
    monkeypatch.setattr(chromium, "FOLDER", tmp_path / "chromium")
    return tmp_path


def test_without_any_browser_the_reason_is_said(bare, capsys):
    assert chromium.find() is None
    chromium.main()
    assert capsys.readouterr().out == "no browser, and no npm to get one with: the browser tests will be skipped\n"


def test_npm_that_fails_is_the_reason(bare, monkeypatch, capsys):
    failing = bare / "npm"
    failing.write_text("#!/bin/sh\necho no network >&2\nexit 1\n")
    failing.chmod(0o755)
    monkeypatch.setattr(chromium.shutil, "which", lambda name: str(failing) if name in ("npm", "node") else None)
    chromium.main()
    assert "npm pack: no network: the browser tests will be skipped" in capsys.readouterr().out
    assert not (bare / "chromium").exists()


def test_the_order(bare, monkeypatch):
    monkeypatch.setattr(chromium, "_of_playwright", lambda: "/playwrights")
    assert chromium.find().path == "/playwrights"
    (bare / "chromium").mkdir()
    assert chromium.find().path == "/playwrights"  # what was fetched is not complete
    (bare / "chromium" / "complete").touch()
    fetched = chromium.find()
    assert (
        fetched.path == f"{bare}/chromium/chromium" and fetched.environment["LD_LIBRARY_PATH"] == f"{bare}/chromium/lib"
    )
    monkeypatch.setattr(chromium.shutil, "which", lambda name: f"/usr/bin/{name}" if name == "google-chrome" else None)
    assert chromium.find().path == "/usr/bin/google-chrome"
    monkeypatch.setenv("VERL_GPO_CHROMIUM", "/mine")
    assert chromium.find() == chromium.Chromium("/mine")
