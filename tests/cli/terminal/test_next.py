"""Printed commands are read by a real shell, so that quoting is judged by what a person would get."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from adaptertune_deploy.cli.terminal import next as following
from adaptertune_deploy.core.adapter import folder as artefact
from adaptertune_deploy.core.adapter import samples
from adaptertune_deploy.core.precision import Precision
from tests.builders import make_backbone_spec, make_task, write_adapter

PLACES = ["plain", "o ü 1", "mein Ordner ä/日本/bündel", "it's $HOME `x`", "a\x1b[2J\nb", "gro\u202eß", "*"]


def words(command: str) -> list[str]:
    """Return the words that bash makes of a command line."""
    code = f"python3 -c 'import json, sys; print(json.dumps(sys.argv[1:]))' {command}"
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    found: list[str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("place", PLACES)
def test_a_shell_reads_what_was_meant(place: str) -> None:
    command = following.command("atd", "add", Path(place), options={"--bundle": Path(place), "--x": None, "--y": True})
    assert words(command) == ["atd", "add", place, "--bundle", place, "--y"]


def test_a_path_is_never_taken_for_an_option() -> None:
    assert words(following.command("atd", "predict", Path("-x.png"))) == ["atd", "predict", "./-x.png"]


def test_serving_names_the_bundle_only_when_it_lies_elsewhere() -> None:
    assert following.serving(Path("bundle"), ["a", "b"], None) == ("atd serve --adapters a,b",)
    assert following.serving(Path("by"), ["a"], Path("x.png")) == (
        "atd serve --adapters a --bundle by",
        "atd predict x.png --adapters a --bundle by",
    )


def test_serving_names_the_precision_and_the_engine_that_are_not_the_usual_ones() -> None:
    def options(*arguments: object) -> str:
        (command,) = following.serving(Path("bundle"), ["a"], None, *arguments)  # type: ignore[arg-type]
        return command.removeprefix("atd serve --adapters a").strip()

    assert options({Precision.INT8, Precision.FP32}) == ""
    assert options({Precision.INT8_QDQ, Precision.INT8}) == "--precision int8"
    assert options({Precision.BF16}, "openvino") == "--engine openvino --precision bf16"
    assert options((), "onnxruntime") == ""


def test_after_training_into_an_empty_place(folder: Path) -> None:
    shutil.rmtree("bundle")
    shutil.rmtree("adapters")
    write_adapter(Path("o ü 1/tiny"), make_task("tiny"))
    write_adapter(Path("adapters/tiny"), make_task("tiny"))
    assert following.after_training(Path("adapters/tiny"), None, None) == (
        "atd export",
        "atd evaluate --adapter tiny",
    )
    assert following.after_training(Path("o ü 1/tiny"), Path("my"), Path("w"), missing=True, bad=True) == (
        "atd export --adapters-dir 'o ü 1' --weights w",
        "atd evaluate --adapter tiny --adapters-dir 'o ü 1' --data-dir my --weights w --allow-missing --skip-bad",
    )


def test_the_other_candidate_is_exported_alone(folder: Path) -> None:
    shutil.rmtree("bundle")
    assert following.overruling(Path("adapters/birds"), "adapter", Path("w"), random=True) == (
        "atd export --adapters birds --ship adapter --weights w --allow-random-backbone"
    )
    write_adapter(Path("o ü 1/tiny"), make_task("tiny"))
    assert following.overruling(Path("o ü 1/tiny"), "head", None) == (
        "atd export --adapters tiny --ship head --adapters-dir 'o ü 1'"
    )


def test_the_other_candidate_goes_where_the_task_can_go(folder: Path) -> None:
    assert following.overruling(Path("adapters/birds"), "head", None) == "atd add adapters/birds --ship head"
    write_adapter(Path("adapters/tiny"), make_task("tiny"), make_backbone_spec())
    assert following.overruling(Path("adapters/tiny"), "head", None) == (
        "atd export --adapters tiny --ship head --out bundle-tiny"
    )


def test_a_task_for_the_bundle_that_is_there_is_added_to_it(folder: Path) -> None:
    assert following.after_training(Path("adapters/trees"), None, None)[0] == "atd add adapters/trees"


def test_a_task_of_another_backbone_gets_a_bundle_of_its_own(folder: Path) -> None:
    write_adapter(Path("adapters/tiny"), make_task("tiny"), make_backbone_spec())
    export = "atd export --adapters tiny --out bundle-tiny"
    assert following.after_training(Path("adapters/tiny"), None, None)[0] == export
    Path("bundle-tiny").mkdir()
    assert following.after_training(Path("adapters/tiny"), None, None)[0] == f"{export}-2"


def test_a_sample_image_is_one_that_is_here(folder: Path) -> None:
    birds = Path("adapters/birds")
    assert following.sample_image(birds) is None
    assert following.sample_image(Path("adapters/none")) is None
    kept = samples.keep(birds, [(Path("images/0.png").read_bytes(), ".png", "a bird")], travel=True)
    artefact.write_config(birds, dataclasses.replace(artefact.read_config(birds), samples=kept))
    assert following.sample_image(birds) == birds / "samples" / "00000_a_bird.png"
