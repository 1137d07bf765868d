from __future__ import annotations

import json
import re

from adaptertune_deploy.serve.http.openapi.description import OPERATIONS
from adaptertune_deploy.serve.http.openapi.schemas import ERRORS, SCHEMAS


def test_every_document_is_named_by_an_endpoint_and_every_name_is_one() -> None:
    named = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(OPERATIONS)))
    assert named == set(SCHEMAS)


def test_every_error_is_one_that_an_endpoint_gives() -> None:
    given = {int(status) for operation in OPERATIONS.values() for status in operation["responses"]}
    assert given == {200, *ERRORS}
