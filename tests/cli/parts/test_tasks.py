from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from adaptertune_deploy.cli.parts import tasks
from adaptertune_deploy.core.errors import AtdError, FormatError, UsageError

BUNDLE, ADAPTERS = Path("bundle"), Path("adapters")


def test_tasks_of_the_bundle(folder: Path) -> None:
    assert tasks.served(BUNDLE, None) is None
    assert tasks.served(BUNDLE, "cars, birds") == ["cars", "birds"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("birds,trees", "adapters/trees is trained but not in bundle/; add it with: atd add adapters/trees"),
        ("car", "the bundle holds no task 'car', only birds, cars. Did you mean 'cars'?"),
        (" , ", "--adapters names no task; name one or more of birds, cars, or leave it out"),
        ("birds,birds", "a task is named twice in birds,birds; name each once"),
    ],
)
def test_a_task_that_the_bundle_lacks(folder: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        tasks.served(BUNDLE, text)
    assert str(refused.value) == message


def test_the_command_that_adds_names_a_bundle_elsewhere(folder: Path) -> None:
    place = Path("mein Ordner")
    place.mkdir()
    shutil.move("bundle", place / "b")
    shutil.move("adapters", place / "adapters")
    with pytest.raises(UsageError, match="add it with: atd add 'mein Ordner/adapters/trees' --bundle 'mein Ordner/b'"):
        tasks.served(place / "b", "trees")


def test_trained_tasks(folder: Path) -> None:
    assert tasks.trained(ADAPTERS, None) == [ADAPTERS / name for name in ("birds", "cars", "trees")]
    assert tasks.trained(ADAPTERS, "trees,birds") == [ADAPTERS / "trees", ADAPTERS / "birds"]
    with pytest.raises(UsageError, match=r"holds no adapter 'bird', only birds, cars, trees\. Did you mean 'birds'\?"):
        tasks.trained(ADAPTERS, "bird")
    with pytest.raises(UsageError, match="none: holds no adapters; train one first: atd train --dataset pets --rank 8"):
        tasks.trained(Path("none"), None)


def test_one_adapter(folder: Path) -> None:
    assert tasks.adapter(ADAPTERS, "cars") == ADAPTERS / "cars"
    cases: dict[str, tuple[type[AtdError], str]] = {
        "car": (FormatError, "adapters/car: no such adapter folder; known: birds, cars, trees. Did you mean 'cars'?"),
        "adapters/cars": (
            UsageError,
            "--adapter adapters/cars: expected the task's name; say --adapter cars --adapters-dir adapters",
        ),
    }
    for name, (kind, message) in cases.items():
        with pytest.raises(kind) as refused:
            tasks.adapter(ADAPTERS, name)
        assert str(refused.value) == message
    with pytest.raises(FormatError, match="none/pets: no such adapter folder; train one first: atd train"):
        tasks.adapter(Path("none"), "pets")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("adapters", "adapters: holds adapters and is none itself; give one of adapters/birds, adapters/cars, "
         "adapters/trees"),
        ("bundle", "bundle: is a bundle, not an adapter folder; give one of adapters/birds, adapters/cars, "
         "adapters/trees, or train one: atd train --dataset pets --rank 8"),
        ("images", "images: holds no adapter_config.json, so it is no adapter folder; give one of adapters/birds, "
         "adapters/cars, adapters/trees, or train one: atd train --dataset pets --rank 8"),
        ("adapters/tree", "adapters/tree: no such adapter folder; known: adapters/birds, adapters/cars, "
         "adapters/trees. Did you mean 'adapters/trees'?"),
        ("x/tree", "x/tree: no such adapter folder; train one first: atd train --dataset pets --rank 8"),
    ],
)  # fmt: skip
def test_what_is_no_adapter_folder_is_refused_with_those_that_are(folder: Path, given: str, message: str) -> None:
    with pytest.raises(AtdError) as refused:
        tasks.check_adapter_folder(Path(given))
    assert str(refused.value) == message
    tasks.check_adapter_folder(Path("adapters/birds"))


def test_many_adapters_are_not_all_listed(folder: Path) -> None:
    for number in range(20):
        shutil.copytree("adapters/birds", f"many/task{number:02d}")
    with pytest.raises(UsageError, match=r"many/task07 and 12 more$"):
        tasks.check_adapter_folder(Path("many"))


def test_a_damaged_file_comes_with_what_to_do(folder: Path) -> None:
    (BUNDLE / "manifest.json").write_text("{")
    again = "; get the bundle again or make it again with: atd export"
    with pytest.raises(FormatError, match=f"^bundle/manifest.json: not readable as JSON .*{again}$"):
        tasks.served(BUNDLE, None)
    for said, told in (
        ("bundle/x: no such file", f"bundle/x: no such file{again}"),
        ("adapters/x: no such file", "adapters/x: no such file; get the adapter's folder again or train it again with: "
         "atd train"),
        ("bundle/x: damaged; do this", "bundle/x: damaged; do this"),
    ):  # fmt: skip
        with pytest.raises(FormatError) as refused, tasks.reading(BUNDLE):
            raise FormatError(said)
        assert str(refused.value) == told
