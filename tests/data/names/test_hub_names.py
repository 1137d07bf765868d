from __future__ import annotations

from pathlib import Path

import pytest

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.data.names.hub_names import HubName, is_hub_name, is_saved, parse


@pytest.mark.parametrize(
    ("name", "parsed", "task"),
    [
        ("hf:uoft-cs/cifar100", HubName("uoft-cs/cifar100", None, None), "cifar100"),
        ("hf:uoft-cs/cifar100:fine_label", HubName("uoft-cs/cifar100", None, "fine_label"), "cifar100"),
        ("hf:a/My.Birds/small:kind of bird", HubName("a/My.Birds", "small", "kind of bird"), "my-birds"),
    ],
)
def test_a_name_is_read_in_its_parts(name: str, parsed: HubName, task: str) -> None:
    assert is_hub_name(name)
    assert parse(name) == parsed
    assert parsed.task == task


@pytest.mark.parametrize("name", ["hf:", "hf:mnist", "hf:a/b/c/d", "hf:a/b:", "hf:../b", "hf:a/ b", "hf:/a/b"])
def test_another_form_is_refused_with_an_example(name: str) -> None:
    with pytest.raises(UsageError, match=r"expected hf:OWNER/NAME.*for instance hf:uoft-cs/cifar100:fine_label"):
        parse(name)


def test_a_path_is_no_name_of_the_hub() -> None:
    assert not is_hub_name("./hf:a/b")
    assert not is_hub_name("hf")


def test_a_saved_folder_is_known_by_its_files(tmp_path: Path) -> None:
    assert not is_saved(tmp_path)
    (tmp_path / "state.json").write_text("{}")
    assert not is_saved(tmp_path)
    (tmp_path / "dataset_info.json").write_text("{}")
    assert is_saved(tmp_path)
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "dataset_dict.json").write_text("{}")
    assert is_saved(tmp_path / "whole")
