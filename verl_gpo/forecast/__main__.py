"""Forecast, before any training, which method gives most signal for its tokens.

    python -m verl_gpo.forecast --model M --data P.parquet --reward FILE.py --out DIR

Every group that is drawn is kept in ``DIR/groups.jsonl``; called again, the command continues where it stopped.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence

from rich.console import Console

from ..config import ConfigError
from ..inference import jsonl
from ..inference.fingerprint import refuse
from .report import recommend, table, write
from .run import load_model, measure, pick
from .settings import Forecast, check, parse_args


def check_folder(forecast: Forecast) -> None:
    """Refuse to mix groups of different settings in one folder.

    Raises:
        ValueError: the folder has groups of other settings.
    """
    out, file = forecast.settings.out, forecast.settings.out / "settings.json"
    if file.exists():
        try:
            there = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{file}: cannot be read ({error})") from error
        refuse(out, there, forecast.drawn_with, "groups")
    jsonl.replace(file, [json.dumps(forecast.drawn_with, indent=1) + "\n"])


def main(argv: Sequence[str] | None = None) -> int:
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=100)
    try:
        forecast = check(parse_args(argv))
        check_folder(forecast)
        model = load_model(forecast.settings)
        weights = pick(model, forecast.settings.weights, forecast.settings.most_weights)
        found, about = asyncio.run(measure(forecast, model, weights, console))
    except (ConfigError, ValueError, OSError) as error:
        print(f"verl_gpo: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    settings = forecast.settings
    advice = recommend(found, settings.mini_batch)
    table(found, console)
    console.print(
        f"{settings.batches} batches of {found[0].batch_tokens:,.0f} tokens each; gradients of {about['weights']:,} of "
        f"{about['of_weights']:,} weights."
    )
    console.print(advice)
    write(settings.out / "forecast.json", about, found, advice)
    console.print(f"written: {settings.out / 'forecast.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
