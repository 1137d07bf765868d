"""core.bundle.leftovers: what no manifest names goes, and what can't go stops nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaptertune_deploy.core.bundle import leftovers
from adaptertune_deploy.core.storage import files


def keeping(patch: pytest.MonkeyPatch, *names: str) -> None:
    """Let nobody remove files whose names begin so, as a folder without write permission does."""
    unlink = Path.unlink

    def refused(self: Path, missing_ok: bool = False) -> None:
        if self.name.startswith(names):
            raise PermissionError(13, "Permission denied", str(self))
        unlink(self, missing_ok)

    patch.setattr(Path, "unlink", refused)


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("adapters", True), ("merged", True), (".lock", True), ("backbone-0123abcd.onnx", True),
        ("backbone-fp32-0123abcd.onnx", True), ("merged/pets-int8-0123abcd.onnx", True),
        ("adapters/pets-0123abcd.safetensors", True), ("merged/.pets.new.abcd1234", True),
        ("adapters/pets", False), ("cat.jpg", False), ("backbone.onnx", False),
    ],
)  # fmt: skip
def test_leftovers_of_a_first_export_are_told_from_other_files(tmp_path: Path, name: str, own: bool) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    if path.suffix or name.startswith(".") or "new" in name:
        path.touch()
    else:
        path.mkdir()
    assert leftovers.is_own(tmp_path, path) is own


def test_a_sweep_takes_what_no_manifest_names_and_says_removed_of_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, stuck = "adapters/pets-0badcafe.safetensors", "adapters/fish-0badcafe.safetensors"
    for name in (named, stuck, "merged/cats-0badcafe.onnx", ".manifest.json.new.abcd1234", "notes.txt"):
        files.write_bytes(tmp_path / name, b"half")
    told: list[str] = []
    keeping(monkeypatch, "fish-")
    leftovers.sweep(tmp_path, [named], told.append)
    assert told == [
        f"could not remove a file that no manifest names ({tmp_path / stuck}: Permission denied); mend that, and the "
        "next change tries again",
        f"removed 2 files that a killed run had left behind ({tmp_path}/.manifest.json.new.abcd1234)",
    ]
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {named, stuck, "notes.txt"}
    assert not (tmp_path / "merged").exists()


def test_where_nothing_can_be_removed_nothing_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / f"{name}-0badcafe.onnx" for name in ("backbone", "backbone-fp16")]
    for path in paths:
        path.touch()
    told: list[str] = []
    keeping(monkeypatch, "backbone-")
    assert leftovers.remove(tmp_path, [*paths, tmp_path / "gone"], told.append) == [tmp_path / "gone"]
    leftovers.sweep(tmp_path, [], told.append)
    assert [sentence.partition(" that ")[0] for sentence in told] == ["could not remove 2 files"] * 2
