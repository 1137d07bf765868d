"""The page docs/results/families.md, made from the results of benchmarks.families.parity."""

from __future__ import annotations

from typing import Any

from benchmarks.families.table import FAMILIES
from benchmarks.wording import heading, row

HEAD = """# Parity with torch, family by family

Written by `make bench-families` from `benchmarks/results/families.json`; do not edit.

One backbone stands for each family of timm's Vision Transformers. "shared" and "merged" are the largest difference
between a logit of that graph on ONNX Runtime's CPU provider and torch's, relative to torch's largest logit, over
batches of 1, 3 and 8 images and one image for five rows; one task has adapters of rank 4 after every block, one of rank
2 after the upper half. Weights are drawn so that every layer matters, LayerScale gammas from N(0, 0.5) among them,
except where the table says "real". Each family is exported at two image sizes where timm can make it for two. Seconds
are of one export of the shared graph on a machine that did other things too; MB is that graph's file, RAM the largest
memory of the process that loaded, exported and verified it.
"""
COLUMNS = ("family", "timm name", "pools", "pixels", "shared", "merged", "export s", "MB", "RAM MB")
REFUSALS = """## Refused by name

Before any weights are downloaded, with this line:
"""


def page(rows: list[dict[str, Any]], limit: float) -> str:
    """Return the page as Markdown.

    Args:
        rows: what benchmarks.families.parity keeps, one a name and image size.
        limit: of a difference that counts as parity.
    """
    order = {family.timm: place for place, family in enumerate(FAMILIES)}
    known = [found for found in rows if found["timm"] in order]
    known.sort(key=lambda found: (order[found["timm"]], -found["asked"]))
    lines = [HEAD, heading(*COLUMNS, text=3), *(row(*_cells(found)) for found in known)]
    refused = [found for found in rows if found["timm"] not in order]
    lines += ["", REFUSALS, heading("timm name", "what `atd train` says", text=2)]
    lines += [row(found["timm"], str(found.get("refused") or found.get("failed"))) for found in refused]
    return "\n".join([*lines, "", _verdict(known, limit), "", *_machines(rows), ""])


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    family = next(family for family in FAMILIES if family.timm == row["timm"])
    name = (family.label, row["timm"] + (", real weights" if row["real"] else ""))
    if "shared" not in row:
        return (*name, "", str(row["asked"]), row.get("refused") or row.get("failed") or "", "", "", "", "")
    height, width = row["size"]
    sizes = f"{height}" if height == width else f"{height} x {width}"
    numbers = (f"{row['seconds']:.1f}", f"{row['megabytes']:.1f}", f"{row['peak_megabytes']:.0f}")
    return (*name, row["pool"], sizes, f"{row['shared']:.1e}", f"{row['merged']:.1e}", *numbers)


def _verdict(rows: list[dict[str, Any]], limit: float) -> str:
    good = [row for row in rows if "shared" in row and max(row["shared"], row["merged"]) <= limit]
    bad = [f"{row['timm']} at {row['asked']}" for row in rows if row not in good]
    said = f"{len(good)} of {len(rows)} rows lie within {limit:g} of torch"
    said += f"; {', '.join(bad)} {'does' if len(bad) == 1 else 'do'} not." if bad else "."
    lacking = sum(len(family.sizes) for family in FAMILIES) - len(rows)
    return f"{said} {lacking} more are still to be measured." if lacking else said


def _machines(rows: list[dict[str, Any]]) -> list[str]:
    named = dict.fromkeys(
        f"{row['machine']['cores']} cores of {row['machine']['processor']}, {row['machine']['memory_gb']} GB, "
        + ", ".join(f"{library} {version}" for library, version in row["machine"]["versions"].items())
        for row in rows
    )
    return [f"Measured on {'; '.join(named)}."]
