"""`atd export --target triton`: both repositories, and a page that says how to start them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle.manifest import SHARED, Manifest
from adaptertune_deploy.core.errors import ExportError, FormatError
from adaptertune_deploy.core.storage import files
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.export.targets.triton import merged, shared

README = "README.md"
PAGE_LIMIT = 1_000_000  # bytes; ours names every task once or twice
HEAD = "# Triton model repositories\n\nWritten by `atd export --target triton`."
PAGE = f"""{HEAD} Start one of them:
{{parts}}
On a GPU write `kind: KIND_GPU` into the instance_group of each config.pbtxt; `atd export --device cuda` writes it.
Requests that wait are batched at once (dynamic_batching); 128 may wait, more get 503.
"""
SHARED_PART = """
## shared/: one graph, every task

    tritonserver --model-repository=shared

The model `{name}` runs in Triton's Python backend. Its Python needs adaptertune-deploy with its extra
`cpu` or `gpu`, in the numpy that the backend was built for: numpy below 2 for Triton 2.51 (24.10). One batch mixes
tasks: {tasks}.

| tensor | type, shape | |
|---|---|---|
| image | BYTES [B, 1] | an encoded image, as its file holds it |
| task | BYTES [B, 1] | the task that this row asks about |
| logits | FP32 [B, C] | C is the most labels among the request's tasks; other rows end in -inf |
| label, probability | BYTES, FP32 [B, 1] | the best label of each row |

`labels.json` beside config.pbtxt has the labels of every task in the order of its logits.
"""
MERGED_PART = """
## merged/: one model a task

    tritonserver --model-repository=merged

Models {tasks} run in Triton's ONNX Runtime backend; no Python of ours is needed. The client prepares images
(`preprocess.json` in each model's folder): input `images` FP32 [B, 3, H, W], output `logits` FP32 [B, classes], with
`labels.txt` for Triton's classification extension.
"""


def write(source: Path, folder: Path, options: EngineOptions) -> tuple[str, ...]:
    """Write what the bundle has graphs for; see export.targets.table.Target.

    Raises:
        ExportError: the bundle holds neither a shared nor a merged graph.
        FormatError: a file of the bundle is not the one that the manifest vouches for.
    """
    manifest = bundle.read_manifest(source)
    parts, told = [], []
    if any(graph.form == SHARED for graph in manifest.graphs):
        shared.write(source, manifest, folder / "shared", options)
        tasks = ", ".join(record.task.name for record in manifest.tasks)
        parts.append(SHARED_PART.format(name=shared.NAME, tasks=tasks))
        told.append(f"shared/: model {shared.NAME}, which answers any of {tasks} in one batch (Python backend)")
    alone = _alone(manifest)
    if alone:
        merged.write(source, manifest, folder / "merged", options.device)
        parts.append(MERGED_PART.format(tasks=", ".join(alone)))
        told.append(f"merged/: {', '.join(alone)}, a plain ONNX model each (ONNX Runtime backend)")
    if not parts:
        raise ExportError(f"{source}: holds no graph that Triton could run; run atd export again")
    files.write_bytes(folder / README, PAGE.format(parts="".join(parts)).encode())
    return tuple(told)


def foreign(folder: Path) -> Path | None:
    """Return a file that `write` did not write; see export.targets.table.Target.

    Without the page nothing is ours, and a model of merged/ without preprocess.json, which Triton does not know, is
    somebody's own.
    """
    ours = _is_ours(folder / README)
    for path in _files(folder):
        file = path.relative_to(folder)
        place, inside = file.parts[0], "/".join(file.parts[1:])
        known = (
            (place == "shared" and shared.OWN_FILE.fullmatch(inside) is not None)
            or (place == "merged" and merged.OWN_FILE.fullmatch(inside) is not None and _is_prepared(folder, file))
            or str(file) == README
        )
        if not (ours and known):
            return path
    return None


def _is_ours(page: Path) -> bool:
    try:
        return files.read_regular(page, PAGE_LIMIT).startswith(HEAD.encode())
    except FormatError:
        return False


def _is_prepared(folder: Path, file: Path) -> bool:
    return (folder.joinpath(*file.parts[:2]) / merged.PREPROCESS).is_file()


def _files(folder: Path) -> Iterator[Path]:
    """Yield all but folders, in the order of their names; a link is a file of its own."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            yield from _files(path)
        else:
            yield path


def _alone(manifest: Manifest) -> list[str]:
    names = [record.task.name for record in manifest.tasks]
    return [name for name in names if merged.graph_of(manifest, name) is not None]
