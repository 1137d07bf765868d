"""Every way of misusing typer's own options gives one line in this program's words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.conftest import Atd

DATASETS = "a name (pets, cifar10, ...), a folder, a .csv, .tsv or .parquet list, or hf:OWNER/NAME"
CASES = {
    ("train",): f"atd train needs --dataset: {DATASETS}",
    (
        "train",
        "--dataset",
        "pets",
        "--rank",
        "eight",
    ): "--rank eight: expected a whole number, auto, auto:fast, nested or nested:N",
    (
        "train",
        "--dataset",
        "pets",
        "--rank=eight",
    ): "--rank eight: expected a whole number, auto, auto:fast, nested or nested:N",
    (
        "train",
        "--rank",
        "8.5",
        "--dataset",
        "pets",
    ): "--rank 8.5: expected a whole number, auto, auto:fast, nested or nested:N",
    ("train", "--dataset", "pets", "--lr", "fast"): "--lr fast: expected a number",
    ("train", "--dataset", "pets", "--rnk", "8"): "atd train has no option --rnk. "
    "Did you mean '--rank'? See: atd train --help",
    ("train", "--dataset", "pets", "--xyzzy"): "atd train has no option --xyzzy. See: atd train --help",
    ("train", "pets"): f"atd train needs --dataset: {DATASETS}",
    ("train", "--dataset"): f"--dataset needs a value: {DATASETS}",
    ("export", "pets", "now"): "atd export can't use pets now; see: atd export --help",
    ("export", "--merge=yes"): "--merge takes no value; see: atd export --help",
    ("predict",): "atd predict needs IMAGES: image files; - reads standard input",
    ("add",): "atd add needs ADAPTER: adapter folder, adapters/flowers for example",
    ("serve", "--port", "http"): "--port http: expected a whole number",
    ("trian",): (
        "no command 'trian', only quickstart, train, sweep, evaluate, export, add, remove, list, inspect, upgrade, "
        "predict, serve, bench, tune, doctor, data. Did you mean 'train'? See: atd --help"
    ),
    ("--verbose",): "atd has no option --verbose. Did you mean '--version'? See: atd --help",
}


@pytest.mark.parametrize("arguments", CASES, ids=" ".join)
def test_a_misuse_is_one_line(atd: Atd, arguments: tuple[str, ...]) -> None:
    done = atd(*arguments)
    assert (done.code, done.out, done.err) == (2, "", f"error: {CASES[arguments]}\n")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("ATD_MAX_BATCH", "many", "expected a whole number"),
        ("ATD_MAX_BATCH", "8.0", "expected a whole number"),
        ("ATD_MAX_BATCH", "0", "expected at least 1"),
        ("ATD_MAX_BATCH", "9999", "expected at most 4096"),
        ("ATD_KEEP_ALIVE", "soon", "expected a number"),
        ("ATD_KEEP_ALIVE", "nan", "expected at least 0.01 seconds"),
        ("ATD_ACCESS_LOG", "perhaps", "expected 1 or 0"),
        ("ATD_LOG_LEVEL", "loud", "expected one of debug, info, warning, error"),
    ],
)
def test_a_bad_variable_is_named_and_not_the_option_that_nobody_typed(
    atd: Atd, monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(name, value)
    done = atd("serve", "--bundle", "none")
    line = f"error: {name}={value}: {expected}; set it otherwise or unset it\n"
    assert (done.code, done.out, done.err) == (2, "", line)


def test_of_a_variable_and_an_option_the_one_that_holds_is_named(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATD_MAX_BATCH", "many")
    assert atd("serve", "--max-batch", "0").err == "error: --max-batch 0: expected at least 1\n"
    assert atd("serve", "--max-batch", "few").err == "error: --max-batch few: expected a whole number\n"
    monkeypatch.setenv("ATD_MAX_BATCH", "0")
    assert atd("serve", "--port", "x").err == "error: --port x: expected a whole number\n"
    assert "holds no manifest.json" in atd("serve", "--bundle", "none", "--max-batch", "2").err


def test_a_place_that_may_not_be_read_is_named_as_it_was_typed(
    atd: Atd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "shut").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "access", lambda *arguments, **options: False)  # root may read anything
    rest = "not readable; change its permissions, or name another one"
    assert atd("inspect", "shut").err == f"error: shut: {rest}\n"
    assert atd("list", "--bundle", "shut").err == f"error: --bundle shut: {rest}\n"
    assert atd("list").err == f"error: --bundle bundle: {rest}\n"  # which nobody typed
