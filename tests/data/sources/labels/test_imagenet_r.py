from __future__ import annotations

from importlib import resources

from adaptertune_deploy.data.sources.labels.imagenet_r import LABELS


def test_ids_and_names_are_those_that_timm_knows() -> None:
    info = resources.files("timm.data") / "_info"
    lines = (info / "imagenet_synset_to_lemma.txt").read_text().splitlines()
    names = dict(line.split("\t", 1) for line in lines)
    assert list(LABELS) == (info / "imagenet_r_synsets.txt").read_text().split()
    assert list(LABELS.values()) == [names[wnid].split(",")[0] for wnid in LABELS]


def test_every_label_is_its_own() -> None:
    assert len(set(LABELS.values())) == len(LABELS) == 200
    assert list(LABELS) == sorted(LABELS)
