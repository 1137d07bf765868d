from __future__ import annotations

import pytest

from adaptertune_deploy.core.errors import FormatError, RequestError
from adaptertune_deploy.serve.tasks.index import Index, IndexEntry
from adaptertune_deploy.serve.tasks.live_tasks import LiveTasks
from adaptertune_deploy.serve.tasks.served_task import ServedTask
from tests.builders import make_task

PETS = ServedTask(0, make_task("pets"), digest="a")
NEWER = ServedTask(1, make_task("pets"), 2, "b")


def make_live() -> LiveTasks:
    return LiveTasks([PETS], lambda task: None, lambda task: None)


def test_what_is_served_is_ready() -> None:
    assert Index(make_live()).entries() == [IndexEntry("pets", 1, "READY")]


def test_each_other_content_is_another_version_and_the_same_one_keeps_its_own() -> None:
    index = Index(make_live())
    assert [index.version("pets", digest) for digest in ("a", "b", "b", "a", "", "")] == [1, 2, 2, 3, 4, 5]
    assert index.version("flowers", "a") == 1


def test_a_new_version_loads_beside_the_one_that_is_served() -> None:
    live = make_live()
    index = Index(live)
    with live.hold([PETS]):
        with index.loading("pets"):
            assert index.entries() == [IndexEntry("pets", 1, "READY"), IndexEntry("pets", 2, "LOADING")]
            index.version("pets", "b")
            live.publish(NEWER)
        assert index.entries() == [IndexEntry("pets", 1, "UNLOADING"), IndexEntry("pets", 2, "READY")]
    assert index.entries() == [IndexEntry("pets", 2, "READY")]


def test_what_failed_says_why_until_it_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    index = Index(make_live())
    for name, version in (("pets", 2), ("flowers", 1)):
        with pytest.raises(FormatError), index.loading(name):
            raise FormatError(f"{name} is damaged; get it again")
        assert IndexEntry(name, version, "UNAVAILABLE", f"{name} is damaged; get it again") in index.entries()
        assert f"task '{name}' was not loaded: {name} is damaged" in caplog.text
    assert IndexEntry("pets", 1, "READY") in index.entries()
    assert index.states() == {"READY": 1, "LOADING": 0, "UNLOADING": 0, "UNAVAILABLE": 2}
    with index.loading("pets"), index.loading("flowers"):
        pass
    assert index.entries() == [IndexEntry("pets", 1, "READY")]


@pytest.mark.parametrize(
    ("name", "error", "sent", "listed"),
    [
        ("junk", RequestError("no such task", 404), False, False),
        ("pets", RequestError("no such task", 404), False, True),
        ("junk", RequestError("no bundle"), False, False),
        ("junk", RequestError("the files are of task 'trees'"), True, False),
        ("junk", FormatError("damaged"), True, False),
        ("junk", FormatError("damaged"), False, True),
        ("pets", RequestError("the files are of task 'trees'"), True, True),
        ("pets", FormatError("damaged"), True, True),
    ],
)
def test_a_name_that_nobody_knows_leaves_nothing(
    name: str, error: Exception, sent: bool, listed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    index = Index(make_live())
    with pytest.raises(type(error)), index.loading(name, sent=sent):
        raise error
    assert [entry.name for entry in index.entries() if entry.state == "UNAVAILABLE"] == [name] * listed
    assert index.lacks(name) == listed
    assert caplog.messages == [f"task '{name}' was not loaded: {error}"]


def test_what_failed_and_left_the_bundle_leaves_nothing() -> None:
    index = Index(make_live())
    for error in (FormatError("damaged"), RequestError("no such task", 404)):
        with pytest.raises(type(error)), index.loading("flowers"):
            raise error
    assert index.entries() == [IndexEntry("pets", 1, "READY")]


def test_a_reason_that_was_said_is_not_said_again_where_nobody_asked(caplog: pytest.LogCaptureFixture) -> None:
    index = Index(make_live())
    assert not index.lacks("pets")
    for reason, again, lines in (("absent", True, 1), ("absent", True, 1), ("other", True, 2), ("other", False, 3)):
        with pytest.raises(FormatError), index.loading("pets", again):
            raise FormatError(reason)
        assert len(caplog.records) == lines
        assert index.lacks("pets")
    index.unloaded("pets")
    assert not index.lacks("pets")


def test_what_should_never_happen_is_told_to_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    index = Index(make_live())
    with pytest.raises(ZeroDivisionError), index.loading("flowers"):
        raise ZeroDivisionError("a secret")
    assert index.entries()[0].reason == "internal error; the server's log says more"
    assert "a secret" in caplog.text


def test_what_was_unloaded_stays_listed() -> None:
    live = make_live()
    index = Index(live)
    live.withdraw("pets")
    index.unloaded("pets")
    index.unloaded("never heard of")
    assert index.entries() == [IndexEntry("pets", 1, "UNAVAILABLE", "unloaded")]
    with index.loading("pets"):
        assert index.version("pets", "a") == 1
        live.publish(PETS)
    assert index.entries() == [IndexEntry("pets", 1, "READY")]
