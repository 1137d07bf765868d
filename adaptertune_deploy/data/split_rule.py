"""How the rule that makes the validation split is spelt: --val-split."""

from __future__ import annotations

from adaptertune_deploy.core.errors import UsageError

VAL_FRACTION = 0.1
RULES = "auto, official, stratified:0.1 or none"


def parse_rule(rule: str) -> tuple[str, float | None]:
    """Return the kind, "auto", "official", "stratified" or "none", and the share that "stratified" holds out.

    Raises:
        UsageError: another kind, or a share outside 0..1.
    """
    if rule in ("auto", "official", "none"):
        return rule, None
    kind, _, share = rule.partition(":")
    try:
        fraction = float(share or VAL_FRACTION)
    except ValueError:
        fraction = 0.0
    if kind != "stratified" or not 0 < fraction < 1:
        raise UsageError(f"--val-split {rule}: expected {RULES}, with a share between 0 and 1")
    return kind, fraction
