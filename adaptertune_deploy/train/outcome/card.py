"""The model card, adapters/<task>/README.md, made from the same facts as adapter_config.json."""

from __future__ import annotations

import shlex
import textwrap

from adaptertune_deploy.core.adapter.folder import AdapterConfig
from adaptertune_deploy.core.adapter.samples import SAMPLES_NAME
from adaptertune_deploy.core.adapter.training_record import RecipeRecord, in_epochs
from adaptertune_deploy.data.samples import Dataset
from adaptertune_deploy.train.outcome import verdict
from adaptertune_deploy.train.outcome.measured import ADAPTER, FULL, HEAD, Measured
from adaptertune_deploy.train.outcome.score_rows import WIDTH_COLUMNS, score_rows, width_rows

MOST_LABELS = 30
TAGS = ("adaptertune", "adapter", "vision-transformer", "image-classification")
WIDTH = 110


def model_card(config: AdapterConfig, measured: Measured, dataset: Dataset, base_model: str | None, root: str) -> str:
    """Return the card as Markdown.

    Args:
        config: the artefact's own facts.
        measured: what the run measured.
        dataset: what it was trained on.
        base_model: the backbone on the Hugging Face Hub; None where it is not there, or its weights came from a file.
        root: name of the folder that holds the adapter folders.
    """
    sections = (
        _intro(config, measured),
        f"## Data\n\n{_data(config, measured, dataset)}",
        *([f"## Widths\n\n{_widths(measured)}"] if measured.widths else []),
        f"## Recipe, as it ran\n\n{_recipe(config, measured)}",
        f"## Checked in this run\n\n{_proofs(measured)}",
        f"## Use\n\n{_use(config, dataset, root)}",
    )
    return "\n".join((_metadata(dataset, base_model), *sections))


def _metadata(dataset: Dataset, base_model: str | None) -> str:
    """Return what the Hugging Face Hub reads; the weights' licence is for whoever trained them to choose."""
    lines = ["library_name: adaptertune-deploy", "pipeline_tag: image-classification"]
    if base_model is not None:
        lines += [f"base_model: {base_model}", "base_model_relation: adapter"]
    if dataset.hub_id is not None:
        lines += ["datasets:", f"- {dataset.hub_id}"]
    return "\n".join(("---", *lines, "tags:", *(f"- {tag}" for tag in TAGS), "---", ""))


def _intro(config: AdapterConfig, measured: Measured) -> str:
    """Return what ships and why, the candidates side by side, and the tests that compare them."""
    task = config.task
    said = [f"**{_sentence(verdict.ships(measured))}**", _what(config, measured)]
    table = _table(measured, task.labels)
    tests = [
        *measured.copies.leaked,
        verdict.on_the_same_images(measured),
        verdict.out_of_fold(measured.gate, measured.method) if measured.gate else None,
        verdict.rank(measured),
        verdict.widths(measured),
        verdict.contradiction(measured),
        *verdict.seeds(measured),
        verdict.coarse(measured.head.scores.images),
    ]
    shown = "\n".join(_filled(f"- {_sentence(test)}", "  ") for test in tests if test)
    which = f"The first {MOST_LABELS} of {len(task.labels)} labels" if len(task.labels) > MOST_LABELS else "Labels"
    labels = _filled(f"{which}: {', '.join(task.labels[:MOST_LABELS])}.")
    parts = (f"# {task.name}", *(_filled(text) for text in said), table, _HOW_TO_READ, shown, labels)
    return "\n\n".join(part for part in parts if part) + "\n"


def _what(config: AdapterConfig, measured: Measured) -> str:
    adapter, backbone, classes = config.task.adapter, config.backbone, len(config.task.labels)
    height, width = backbone.image_size
    frozen = f"`{backbone.name}` at {height} x {width} pixels (frozen weights sha256 `{backbone.sha256[:16]}`)"
    if measured.adapter is None:
        return f"A linear head for {frozen}: {classes} classes; no adapters."
    if measured.method == FULL:
        return _what_full(measured, f"For {frozen}, {classes} classes")
    adapters = (
        f"adapters (AdapterTune, arXiv 2603.14706) of rank {adapter.rank} after blocks "
        f"{', '.join(map(str, adapter.blocks))}, with a head of their own"
    )
    start = f"For {frozen}, {classes} classes"
    if measured.ships == ADAPTER:
        return f"{start}: {adapters}. The head alone is kept beside them (`atd export --ship head`)."
    return f"{start}: a linear head. Kept beside it (`atd export --ship adapter`): {adapters}."


def _what_full(measured: Measured, start: str) -> str:
    tuned = "the whole backbone, fine-tuned, with a head of its own; its weights are in `backbone.safetensors`"
    if measured.ships == FULL:
        return f"{start}: {tuned}. The head alone is kept beside it (`atd export --ship head`)."
    return f"{start}: a linear head. Kept beside it (`atd export --ship full`): {tuned}."


_HOW_TO_READ = textwrap.fill(
    "Intervals are Wilson's, 95 %. Balanced accuracy is the mean over the classes. Logits are divided by the "
    "temperature, which was fitted out of fold; loss (nats) and calibration error (15 bins) are with it, in brackets "
    "without it.",
    WIDTH,
)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _filled(text: str, indent: str = "") -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _table(measured: Measured, labels: tuple[str, ...]) -> str:
    candidates = {HEAD: measured.head, **({measured.method: measured.adapter} if measured.adapter else {})}
    names = [f"{verdict.NAMES[name]}{' (ships)' if name == measured.ships else ''}" for name in candidates]
    images = f"{measured.head.scores.images:,} test images"
    lines = [f"| {images} | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    rows = score_rows(list(candidates.values()), labels, measured.frozen)
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join(lines)


def _data(config: AdapterConfig, measured: Measured, dataset: Dataset) -> str:
    data = config.dataset
    apart = "on which nothing was trained"
    if measured.copies.leaked:
        apart = "some of which were trained on too, or nearly, see above"
    limit = "; non-commercial use only" if dataset.non_commercial else ""
    facts = (
        f"`{data.name}`: {data.train:,} training images, {data.test:,} test images ({data.test_rule}), {apart}; "
        f"split sha256 `{data.split_sha256[:16]}`. Terms of the images: {data.licence}{limit}."
    )
    copies = "".join(f"{_filled(_sentence(said))}\n\n" for said in measured.copies.others)
    heldback = f"{len(config.samples)} of the test images"
    if dataset.redistributable:
        samples = f"The folder `{SAMPLES_NAME}/` holds {heldback}, on which `atd export` verifies graphs."
    else:
        samples = (
            f"`atd export` verifies graphs on {heldback}. They are not in this folder: they stay on the machine that "
            "trained, and their SHA-256 are in `adapter_config.json`. Elsewhere, give it other images of this kind: "
            "`atd export --images FOLDER`."
        )
    return f"{_filled(facts)}\n\n{copies}{_filled(samples)}\n"


def _widths(measured: Measured) -> str:
    """Return what nested adapters are worth at each of their widths."""
    full, narrow = (measured.widths[place].record.rank for place in (-1, len(measured.widths) // 2))
    said = (
        "The adapters are nested: the first units of each are an adapter of a smaller rank, and `atd export --rank "
        f"{narrow}` or `atd add --rank {narrow}` cuts them. The head and the rest stay as they are; every width has a "
        f"temperature of its own. Out of fold, the loss against rank {full} image by image, and on the test images:"
    )
    rows = (WIDTH_COLUMNS, ("---",) * len(WIDTH_COLUMNS), *width_rows(measured.widths))
    return f"{_filled(said)}\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _recipe(config: AdapterConfig, measured: Measured) -> str:
    rows = {"head alone": f"linear probe on the frozen features, penalty C = {config.probe.penalty:g}"}
    if config.recipe is not None:
        rows |= _trained_rows(config.recipe, config)
    if measured.classes_unequal:
        rows["classes"] = "of unequal size; top-1 counts images, balanced accuracy counts classes"
    rows["whole run"] = f"{measured.seconds:.0f} seconds"
    return "\n".join(("| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items()), ""))


def _method(recipe: RecipeRecord, config: AdapterConfig) -> dict[str, str]:
    """Return what was trained, and at which rate."""
    if recipe.method == FULL:
        return {
            "method": f"full fine-tuning of every weight, stochastic depth {recipe.drop_path:g}",
            "peak learning rate": f"{recipe.lr:g} at the last block, times {recipe.layer_decay:g} with every block "
            f"before it; head {recipe.head_lr:g}; {_schedule(recipe)}",
        }
    adapter, nested = config.task.adapter, ", nested" if config.widths else ""
    return {
        "adapters": f"rank {adapter.rank}{nested}, alpha {adapter.alpha:g}, placement {recipe.placement}",
        "peak learning rate": f"{recipe.lr:g}, head {recipe.head_lr:g}; {_schedule(recipe)}",
    }


def _schedule(recipe: RecipeRecord) -> str:
    return f"linear warm-up over {100 * recipe.warmup:.0f} % of the steps, then a cosine to zero"


def _trained_rows(recipe: RecipeRecord, config: AdapterConfig) -> dict[str, str]:
    folds = {0: "none", 1: "one split, out of fold"}.get(recipe.folds, f"{recipe.folds} folds, out of fold")
    clip = f"gradient norm at most {recipe.clip:g}" if recipe.clip else "gradients not clipped"
    weights = "every class counts the same" if recipe.class_weights == "balanced" else "every image counts the same"
    served = f"{100 * recipe.served_view:.0f} %"
    views = f" in {recipe.views} fixed views" if recipe.views else ""
    what, *rates = _method(recipe, config).items()
    length = f"{in_epochs(recipe.epochs)}, {recipe.steps:,} steps of {recipe.batch_size} images; last weights"
    return {
        **dict([what, ("length", length), *rates]),
        "optimiser": f"AdamW, weight decay {recipe.weight_decay:g} on matrices, {clip}",
        "start of the head": f"linear probe with penalty C = {recipe.start_penalty:g}",
        "augmentation": f"preset `{recipe.augment}`{views}; {served} of the samples as they are served",
        "label smoothing": f"{recipe.label_smoothing:g}",
        **_dropped(recipe),
        "class weights": f"{recipe.class_weights}: {weights}",
        "comparison of the candidates": folds,
        "seed": f"{recipe.seed}",
        "precision of the steps": recipe.precision,
        "device": recipe.device,
    }


def _dropped(recipe: RecipeRecord) -> dict[str, str]:
    if recipe.method == FULL or not (recipe.dropout or recipe.drop_path):
        return {}
    return {"dropout, drop-path of the adapters": f"{recipe.dropout:g}, {recipe.drop_path:g}"}


def _proofs(measured: Measured) -> str:
    proofs = measured.proofs
    if measured.method == FULL and measured.adapter is not None:
        return "Every weight of the backbone was trained, so that there is no unchanged backbone to be shown.\n"
    if proofs is None:
        return "Nothing but a linear head was trained, so there was nothing to check.\n"
    start = f"{proofs.start_images} images"
    return f"""- Before the first step the adapted features equalled the backbone's bit for bit ({start}).
- All {proofs.frozen_tensors} frozen tensors were unchanged at the end (sha256 `{proofs.frozen_sha256[:16]}`).
- Each of the {proofs.adapters_with_gradient} adapters received a gradient other than zero in the first step: all of
  them took part, which does not say that each one improves the answers.
"""


def _use(config: AdapterConfig, dataset: Dataset, root: str) -> str:
    name = config.task.name
    where = "" if root == "adapters" else f" --adapters-dir {shlex.quote(root)}"
    images = "" if dataset.redistributable else " (add `--images FOLDER` on another machine than the one that trained)"
    versions = ", ".join(f"{library} {version}" for library, version in config.versions.items())
    return f"""In the folder that holds `{root}/`, to add the task to the bundle in `bundle/`:

    atd add {shlex.quote(f"{root}/{name}")}

Or for a bundle of its own{images}:

    atd export --adapters {name}{where} --out bundle-{name}
    atd predict IMAGE --adapters {name} --bundle bundle-{name}

Trained with {versions}.
"""
