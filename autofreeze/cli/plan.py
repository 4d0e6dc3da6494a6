"""``autofreeze plan``: what a search would cost, before anything is trained."""

import inspect
from typing import Any

import typer

from autofreeze.cli.options import OutputJson
from autofreeze.cli.search import asked_for, search


def plan(**given: Any) -> None:
    """Tell what a search would cost, and train nothing. Takes what search takes."""
    from rich.console import Console

    from autofreeze import api
    from autofreeze.display import Display
    from autofreeze.report.plan import show_plan

    as_json, data, model = given.pop("as_json"), given["data"], given["model"]
    asked = asked_for(given)
    plans = []
    for one in data:
        display = Display()
        found = api.plan(one, model, display=display, **asked)
        plans.append(found)
        if not as_json:
            show_plan(found, Console(), title=f"{model} on {one}", limit=asked["time_limit"])
    if as_json:
        texts = [found.model_dump_json(indent=1) for found in plans]
        typer.echo(texts[0] if len(texts) == 1 else f"[{','.join(texts)}]")


_TAKEN = inspect.signature(search)
_JSON = inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=OutputJson)
plan.__signature__ = _TAKEN.replace(parameters=[*_TAKEN.parameters.values(), _JSON])  # type: ignore[attr-defined]
