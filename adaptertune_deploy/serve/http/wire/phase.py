"""What a connection waits for."""

from __future__ import annotations

from enum import Enum


class Phase(Enum):
    """What a connection waits for; in every phase but ANSWER, for its client.

    OPENED: the first byte.
    IDLE: the next request.
    HEAD: the rest of a request's head.
    BODY: the rest of its body.
    ANSWER: what this server owes.
    ENDING: that the client reads the last answer.
    """

    OPENED = "opened"
    IDLE = "idle"
    HEAD = "head"
    BODY = "body"
    ANSWER = "answer"
    ENDING = "ending"
