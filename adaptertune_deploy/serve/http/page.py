"""The web page at /: its files, which lie in serve/page/, and the images to try."""

from __future__ import annotations

from importlib import resources

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adaptertune_deploy.serve.facts.told import Told
from adaptertune_deploy.serve.http import static

INDEX = "index.html"
MEDIA_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


def read_page() -> dict[str, bytes]:
    """Return the page's files, name -> bytes."""
    folder = resources.files("adaptertune_deploy.serve") / "page"
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name.rpartition(".")[2] in MEDIA_TYPES}


def routes() -> list[Route]:
    """Return the routes of what the page loads."""
    return [Route("/page/{file}", show_file), Route("/samples/{task}/{place}", show_sample)]


def is_of_page(path: str) -> bool:
    """Return whether a path is one of what a browser loads before anybody has typed anything."""
    return path == "/" or path.startswith(("/page/", "/samples/"))


def wanted(accept: str) -> bool:
    """Return whether an Accept header asks for HTML rather than JSON: browsers name it, programs don't."""
    weights = {name: weight for name, weight in map(_weighted, accept.lower().split(","))}
    html = weights.get("text/html", 0.0)
    return html > 0 and html >= weights.get("application/json", 0.0)


def _weighted(item: str) -> tuple[str, float]:
    name, *parameters = (part.strip() for part in item.split(";"))
    weight = next((part[2:] for part in parameters if part.startswith("q=")), "1")
    try:
        return name, float(weight)
    except ValueError:
        return name, 0.0


def show_page(request: Request) -> Response:
    """Answer GET / with the page."""
    return _file(request, INDEX, vary="Accept")


async def show_file(request: Request) -> Response:
    """Answer GET /page/FILE."""
    return _file(request, request.path_params["file"])


async def show_sample(request: Request) -> Response:
    """Answer GET /samples/TASK/PLACE with an image to try."""
    told: Told = request.app.state.told
    task = told.about.tasks.get(request.path_params["task"])
    samples = {} if task is None else {str(place): sample for place, sample in enumerate(task.samples)}
    sample = samples.get(request.path_params["place"])
    if sample is None:
        raise HTTPException(404)
    return static.answer(request, sample.data, sample.media_type)


def _file(request: Request, name: str, vary: str | None = None) -> Response:
    held: dict[str, bytes] = request.app.state.page
    if name not in held:
        raise HTTPException(404)
    return static.answer(request, held[name], MEDIA_TYPES[name.rpartition(".")[2]], vary)
