"""train.logs.table: logs are opened where they belong, and what becomes of their folder."""

from __future__ import annotations

from pathlib import Path

from adaptertune_deploy.train.logs.log import usual_folder
from adaptertune_deploy.train.logs.table import open_logs


def test_a_log_without_a_folder_of_its_own_moves_into_the_report(tmp_path: Path) -> None:
    usual, report = usual_folder(tmp_path, "pets"), tmp_path / "report"
    logs = open_logs(("csv",), None, usual, resume=False)
    assert logs is not None
    logs.training("seed 0", 0, lambda: 0.0)(1, 0.1, 2.0)
    report.mkdir()
    logs.report(report)
    assert [path.name for path in (report / "log").iterdir()] == ["steps.csv"]
    assert usual.is_dir()  # until the report is where it belongs
    logs.remove()
    assert not usual.exists()


def test_a_folder_that_was_named_stays(tmp_path: Path) -> None:
    named, report = tmp_path / "named", tmp_path / "report"
    logs = open_logs(("csv", "tensorboard"), named, tmp_path / ".usual", resume=False)
    assert logs is not None
    logs.training("seed 0", 0, lambda: 0.0)(1, 0.1, 2.0)
    logs.report(report)
    logs.remove()
    assert sorted(path.name for path in named.iterdir()) == ["seed-0", "steps.csv"]
    assert not report.exists()
    assert not (tmp_path / ".usual").exists()


def test_what_a_stopped_run_left_stays_for_one_that_goes_on_only(tmp_path: Path) -> None:
    usual = usual_folder(tmp_path, "pets")
    usual.mkdir()
    (usual / "steps.csv").write_text("training,step,lr,loss,time\nseed 0,1,0.1,2,0\n")
    assert open_logs((), None, usual, resume=True) is None
    open_logs(("csv",), None, usual, resume=True)
    assert (usual / "steps.csv").is_file()
    open_logs(("csv",), None, usual, resume=False)
    assert list(usual.iterdir()) == []
