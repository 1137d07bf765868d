"""Commands to run next, each of which works as it is printed: quoted for the shell, with every option it needs."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from adaptertune_deploy.cli.terminal.text import UNSAFE
from adaptertune_deploy.core.adapter import folder as artefact
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle.manifest import SHARED
from adaptertune_deploy.core.errors import AtdError
from adaptertune_deploy.core.precision import Precision

ADAPTERS, BUNDLE, ENGINE = Path("adapters"), Path("bundle"), "onnxruntime"  # what commands take anyway


def command(*words: object, options: Mapping[str, object] | None = None) -> str:
    """Return a command line for the shell.

    Args:
        words: the program and what comes first.
        options: option -> value; None and False leave it out, True is a flag.
    """
    line = [_word(word) for word in words]
    for name, value in (options or {}).items():
        if value is not None and value is not False:
            line += [name] if value is True else [name, _word(value)]
    return " ".join(_quote(word) for word in line)


def _word(value: object) -> str:
    """Return a value as a word that is not taken for an option."""
    return f"./{value}" if isinstance(value, Path) and str(value).startswith("-") else str(value)


def _quote(word: str) -> str:
    """Quote a word for the shell; control characters are spelled in bash's and zsh's $'...'."""
    if UNSAFE.search(word) is None:
        return shlex.quote(word)
    data = word.encode("utf-8", "surrogateescape")
    text = "".join(chr(byte) if 32 <= byte < 127 and byte not in b"'\\" else f"\\x{byte:02x}" for byte in data)
    return f"$'{text}'"


def unless(value: Path, usual: Path) -> Path | None:
    """Return a place that a command must be told, None when it is the one that the command takes anyway."""
    return None if value == usual else value


def after_training(
    folder: Path,
    data_dir: Path | None,
    weights: Path | None,
    *,
    missing: bool = False,
    bad: bool = False,
    random: bool = False,
) -> tuple[str, ...]:
    """Return the commands that export, or add, and evaluate a task that was just trained.

    Args:
        folder: adapters/<task>/.
        data_dir: as given to training.
        weights: as given to training.
        missing: whether training was allowed to skip absent images.
        bad: whether it was allowed to skip those that can't be used.
        random: whether random weights are allowed.
    """
    root = unless(folder.parent, ADAPTERS)
    tolerant = {"--allow-random-backbone": random}
    evaluate = {
        "--adapter": folder.name,
        "--adapters-dir": root,
        "--data-dir": data_dir,
        "--weights": weights,
        "--allow-missing": missing,
        "--skip-bad": bad,
    }
    return _into_bundle(folder, root, {"--weights": weights, **tolerant}), command(
        "atd", "evaluate", options={**evaluate, **tolerant}
    )


def overruling(folder: Path, ship: str, weights: Path | None, *, random: bool = False) -> str:
    """Return the command that brings the other candidate of a task into a bundle.

    Args:
        folder: adapters/<task>/.
        ship: "adapter" or "head".
        weights: as given to training.
        random: whether random weights are allowed.
    """
    options = {"--weights": weights, "--allow-random-backbone": random}
    return _into_bundle(folder, unless(folder.parent, ADAPTERS), options, ship)


def _into_bundle(folder: Path, root: Path | None, weights: Mapping[str, object], ship: str | None = None) -> str:
    """Return the command that brings a task into bundle/, or into a bundle of its own where it can't go there."""
    backbone = artefact.read_config(folder).backbone
    alone = ship is not None or any(_backbone(other) != backbone for other in artefact.list_adapters(folder.parent))
    out = None
    if BUNDLE.exists():
        try:
            manifest = bundle.read_manifest(BUNDLE)
        except AtdError:
            manifest = None
        if (
            manifest is not None
            and manifest.backbone == backbone
            and any(graph.form == SHARED for graph in manifest.graphs)
        ):
            return command("atd", "add", folder, options={"--ship": ship})
        alone, out = True, _free(Path(f"bundle-{folder.name}"))
    options = {"--adapters": folder.name if alone else None, "--ship": ship, "--adapters-dir": root, "--out": out}
    return command("atd", "export", options={**options, **weights})


def _free(path: Path) -> Path:
    number = 1
    found = path
    while found.exists():
        number += 1
        found = Path(f"{path}-{number}")
    return found


def _backbone(folder: Path) -> object:
    try:
        return artefact.read_config(folder).backbone
    except AtdError:
        return None


def serving(
    place: Path, tasks: Sequence[str], image: Path | None, precisions: Collection[Precision] = (), engine: str = ENGINE
) -> tuple[str, ...]:
    """Return the commands that serve tasks of a bundle and that ask for one image.

    Args:
        place: the bundle.
        tasks: names, never none.
        image: a file to ask about; None leaves the second command out.
        precisions: of the bundle's graphs; one of them is named where the usual one is not among them.
        engine: that was asked for.
    """
    usual = not precisions or Precision.FP32 in precisions
    options = {
        "--adapters": ",".join(tasks),
        "--bundle": unless(place, BUNDLE),
        "--engine": None if engine == ENGINE else engine,
        "--precision": None if usual else min(precisions, key=list(Precision).index),
    }
    serve = command("atd", "serve", options=options)
    return (serve,) if image is None else (serve, command("atd", "predict", image, options=options))


def sample_image(folder: Path) -> Path | None:
    """Return one of the images that training held back of an adapter, None where there is none here."""
    from adaptertune_deploy.core.adapter import samples

    try:
        found = samples.find(folder, artefact.read_config(folder).samples)
    except (AtdError, OSError):
        return None
    return found[0][1] if found else None
