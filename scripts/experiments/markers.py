"""Generated sections of a page: the text between ``<!-- KIND NAME -->`` and ``<!-- /KIND -->``.

If a page has only one section of a kind, the name may be left out: ``<!-- KIND -->``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path


def fill(page: str, kind: str, texts: Mapping[str, str]) -> str:
    """Replace the sections of a page.

    Args:
        page: its text.
        kind: of the sections.
        texts: name of a section -> its new text.

    Raises:
        ValueError: the markers of a section are not in the page exactly once.

    >>> fill("<!-- a -->\\nold\\n<!-- /a -->", "a", {"": "new"})
    '<!-- a -->\\n\\nnew\\n\\n<!-- /a -->'
    """
    for name, text in texts.items():
        marker = f"<!-- {kind} {name} -->" if name else f"<!-- {kind} -->"
        pattern = re.compile(f"({re.escape(marker)}\n).*?(<!-- /{kind} -->)", re.DOTALL)
        page, count = pattern.subn(lambda found, text=text: f"{found[1]}\n{text}\n\n{found[2]}", page)
        if count != 1:
            raise ValueError(f"{marker} ... <!-- /{kind} -->: must be in the page once, and is {count} times")
    return page


def changed(pages: Mapping[Path, str]) -> list[Path]:
    """The pages whose file differs from the text that it should have."""
    return [path for path, text in pages.items() if path.read_text(encoding="utf-8") != text]


def check(pages: Mapping[Path, str], command: str) -> int:
    """Check that the pages are up to date. If one is not, print the command that writes it.

    Returns:
        The exit status, 1 if a page is not up to date.
    """
    old = changed(pages)
    for path in old:
        print(f"verl_gpo: {path}: does not agree with the results; call {command}", file=sys.stderr)
    return 1 if old else 0


def write(pages: Mapping[Path, str]) -> list[Path]:
    """Write the pages that have changed, and return their paths."""
    old = changed(pages)
    for path in old:
        path.write_text(pages[path], encoding="utf-8")
    return old
