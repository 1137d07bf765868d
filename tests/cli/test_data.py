from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from adaptertune_deploy.cli import data as command
from adaptertune_deploy.data.check import Report, SplitFacts
from adaptertune_deploy.data.duplicates import Duplicates
from adaptertune_deploy.data.findings.finding import Finding
from tests.cli.conftest import Atd
from tests.cli.started import imported_by
from tests.data.scenes import save_scene
from tests.flow.terminal import OnTerminal


@pytest.fixture
def photos(folder: Path) -> Path:
    """Return a folder of images whose only fault is its small test."""
    for place, (part, count) in enumerate((("train", 5), ("test", 2))):
        for row in range(2 * count):
            save_scene(folder / "photos" / part / ("cat", "dog")[row % 2] / f"{row}.jpg", 100 * place + row)
    return folder / "photos"


def leak(photos: Path) -> None:
    shutil.copy(photos / "train/cat/0.jpg", photos / "test/cat/copy.jpg")


def test_a_warning_is_no_failure_unless_it_is_asked_for(atd: Atd, photos: Path) -> None:
    done = atd("data", "check", "--dataset", "photos")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0] == "photos: 14 images, 2 classes"
    assert [line.split()[:5] for line in done.out.splitlines()[2:4]] == [
        ["train", "10", "2", "5", "232"],
        ["test", "4", "2", "2", "232"],
    ]
    assert "\nwarning: the test has 4 images: one is 25.0 points" in done.out
    assert done.out.endswith("\n1 warning\n")
    assert atd("data", "check", "--dataset", "photos", "--strict").code == 1


def test_an_error_fails_and_comes_first_on_one_line(atd: Atd, photos: Path) -> None:
    leak(photos)
    (photos / "train/dog/1.jpg").write_bytes(b"broken")
    done = atd("data", "check", "--dataset", "photos")
    assert (done.code, done.err) == (1, "")
    found = [line.partition(":")[0] for line in done.out.splitlines()[5:-1]]
    assert found == ["error", "error", "warning", "warning"]
    assert "train/dog/1.jpg: data is not a JPEG" in done.out
    assert "train without them: --skip-bad" in done.out
    assert "test/cat/copy.jpg = train/cat/0.jpg" in done.out
    assert done.out.endswith("\n2 errors, 2 warnings\n")


def test_json_holds_everything(atd: Atd, photos: Path) -> None:
    leak(photos)
    done = atd("data", "check", "--dataset", "photos", "--json")
    assert (done.code, done.err) == (1, "")
    facts = json.loads(done.out)
    assert (facts["dataset"], facts["labels"], facts["errors"], facts["warnings"]) == ("photos", ["cat", "dog"], 1, 1)
    assert facts["splits"][1] == {
        "name": "test",
        "images": 5,
        "unreadable": 0,
        "classes": 2,
        "smallest": 2,
        "largest": 3,
        "sides": {"least": 232, "median": 232, "most": 232},
    }
    (finding,) = [finding for finding in facts["findings"] if finding["code"] == "test-copies"]
    assert (finding["severity"], finding["count"], finding["names"]) == ("error", 1, ["test/cat/copy.jpg"])
    assert facts["duplicates"] == [
        {
            "kind": "exact",
            "images": [
                {"split": "train", "name": "train/cat/0.jpg", "label": "cat"},
                {"split": "test", "name": "test/cat/copy.jpg", "label": "cat"},
            ],
        }
    ]


def test_notes_of_the_dataset_are_told_beside_the_result(atd: Atd, photos: Path) -> None:
    (photos / "train" / "cat" / "list.txt").write_text("none")
    done = atd("data", "check", "--dataset", "photos")
    assert done.err.startswith("note: passed over 1 file that is no image")


def test_nothing_found_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    split = SplitFacts("train", 1200, 0, 2, 600, 600, (224, 240, 500))
    command.show(Report("photos", ("cat", "dog"), (split,), (), Duplicates((), 1200)))
    printed = capsys.readouterr().out
    assert printed.splitlines()[2].split() == ["train", "1,200", "2", "600", "224", "to", "500,", "median", "240"]
    assert printed.endswith("\nnothing found: every image can be read, none is there twice\n")


def test_names_that_a_terminal_would_obey_are_spelt(atd: Atd, photos: Path) -> None:
    (photos / "train/cat/0.jpg").rename(photos / "train/cat/\x1b[31m.jpg")
    for option in ((), ("--json",)):
        done = atd("data", "check", "--dataset", "photos", *option)
        assert "\x1b" not in done.out
        assert "1b[31m.jpg" in done.out


def test_a_finding_without_advice_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    command._show(Finding("alike", "note", 5, "they are alike"))
    assert capsys.readouterr().out == "note: they are alike\n"


MISTAKES = [
    (["data", "check"], "atd data check needs --dataset"),
    (["data", "chek"], "no command 'chek', only check. Did you mean 'check'? See: atd data --help"),
    (["data", "check", "--dataset", "phots"], "--dataset phots: is neither a dataset nor a folder"),
    (["data", "check", "--dataset", "photos", "--data-dir", "photos"], "--data-dir: photos is a folder already"),
    (["data", "check", "--dataset", "bundle"], "--dataset bundle: this is a bundle"),
    (["data", "check", "--dataset", "photos", "--stict"], "Did you mean '--strict'?"),
]


@pytest.mark.parametrize(("arguments", "text"), MISTAKES)
def test_mistakes(atd: Atd, photos: Path, arguments: list[str], text: str) -> None:
    done = atd(*arguments)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert text in done.err


def test_without_a_command_there_is_help(atd: Atd) -> None:
    done = atd("data")
    assert (done.code, done.err) == (2, "")
    assert "check" in done.out
    assert "  data " in atd("--help").out


def test_no_torch_is_needed(photos: Path) -> None:
    imported = imported_by("data", "check", "--dataset", "photos")
    assert "PIL" in imported
    assert not imported & {"torch", "timm", "sklearn", "scipy", "onnxruntime"}


def test_a_mistyped_name_is_found_before_anything_is_loaded(folder: Path) -> None:
    assert not imported_by("data", "check", "--dataset", "phots") & {"numpy", "PIL", "torch"}


def test_a_terminal_shows_bars_and_the_folder_is_left_alone(photos: Path) -> None:
    before = sorted(photos.rglob("*"))
    with OnTerminal(photos.parent, "data", "check", "--dataset", "photos") as running:
        assert running.end() == 0
    assert "reading images" in running.shown
    assert "14/14" in running.shown
    assert sorted(photos.rglob("*")) == before
