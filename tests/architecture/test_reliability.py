"""The page on reliability says what the tests try, all of it, and names options that the server has."""

from __future__ import annotations

import re
from dataclasses import fields

from adaptertune_deploy.serve.settings import Settings, option
from tests import cases

PAGE = cases.PAGE.read_text()


def test_the_page_is_what_the_tests_say() -> None:
    assert cases.with_table(PAGE) == PAGE, "out of date; run make reliability"


def test_every_case_has_a_test_or_a_reason() -> None:
    assert cases.untried() == []


def test_a_case_is_one_of_the_catalogue_and_fits_its_table() -> None:
    for case in cases.cases():
        assert case.number in cases.numbers(), case
        assert all(text and "|" not in text and "\n" not in text for text in (case.what, case.expected)), case
    for _, _, found in cases.KNOWN:
        assert {case.number for case in cases.cases()} >= set(found)
    assert {number for number, _ in cases.NOT_DONE} <= set(cases.numbers())


def test_marks_are_read_as_they_stand() -> None:
    """In the order of the catalogue, several of one test in the order in which they are written."""
    found = [case for case in cases.cases() if case.test.endswith("::test_a_wrong_document_is_one_clear_error")]
    assert [case.number for case in found] == ["C1", "C3", "C10", "D11"]
    assert cases.cases()[0].number == "A1"


def test_the_page_names_the_servers_limits() -> None:
    options = {option(limit.name) for limit in fields(Settings)}
    named = set(re.findall(r"`(--[a-z-]+)`", PAGE)) - {"--verbose"}
    assert named <= options
    how_work_is_done = {"--max-batch", "--instances", "--decode-threads"}  # not how much is taken
    assert options - named == how_work_is_done
