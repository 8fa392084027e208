"""Generated sections of a page: between ``<!-- KIND NAME -->`` and ``<!-- /KIND -->`` stands what a command made.

A page with one section may leave the name out: ``<!-- KIND -->``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path


def fill(page: str, kind: str, texts: Mapping[str, str]) -> str:
    """Replace the sections of a page.

    Raises:
        ValueError: a section whose markers are not there exactly once.
    """
    for name, text in texts.items():
        marker = f"<!-- {kind} {name} -->" if name else f"<!-- {kind} -->"
        pattern = re.compile(f"({re.escape(marker)}\n).*?(<!-- /{kind} -->)", re.DOTALL)
        page, count = pattern.subn(lambda found, text=text: f"{found[1]}\n{text}\n\n{found[2]}", page)
        if count != 1:
            raise ValueError(f"{marker} ... <!-- /{kind} -->: must be in the page once, and is {count} times")
    return page


def changed(pages: Mapping[Path, str]) -> list[Path]:
    """Pages whose file is not what it should be."""
    return [path for path, text in pages.items() if path.read_text(encoding="utf-8") != text]


def check(pages: Mapping[Path, str], command: str) -> int:
    """Exit status: 1 if a page has to be written anew, which is said with the command that does it."""
    old = changed(pages)
    for path in old:
        print(f"verl_gpo: {path}: does not agree with the results; call {command}", file=sys.stderr)
    return 1 if old else 0


def write(pages: Mapping[Path, str]) -> list[Path]:
    """Write the pages that have changed, and say which."""
    old = changed(pages)
    for path in old:
        path.write_text(pages[path], encoding="utf-8")
    return old
