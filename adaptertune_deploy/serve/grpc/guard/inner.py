"""The Unix socket on which gRPC's library listens, reached from this process alone.

The library knows a connection's other end by its address only. So the guard gives its own end of each a name that says
who the client is.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
from urllib.parse import unquote

from adaptertune_deploy.core.errors import UsageError

MAX_PATH = 103  # octets of a socket's path that every system takes


class Inner:
    """A place for one socket, in a folder that this user alone may enter; `remove` ends it.

    Attributes:
        path: of the socket.
    """

    def __init__(self) -> None:
        """Make the folder.

        Raises:
            UsageError: it can't be made, or its name is too long for a socket's.
        """
        try:
            self._folder = tempfile.mkdtemp(prefix="atd-")  # made with the mode 0700
        except OSError as error:
            raise UsageError(
                f"gRPC needs a folder for a socket ({error}); set TMPDIR to one that can be written"
            ) from None
        self.path, self._count = f"{self._folder}/grpc", 0
        if len(os.fsencode(self.path)) > MAX_PATH:
            self.remove()
            raise UsageError(f"'{self.path}' is too long for a socket; set TMPDIR to a folder with a shorter name")

    @property
    def where(self) -> str:
        """The socket, as gRPC is given it."""
        return f"unix:{self.path}"

    def connect(self, client: str) -> socket.socket:
        """Return a connection to the socket, whose name is that of a client: an address, or empty.

        Raises:
            OSError: nobody listens, or the process has no descriptor left.
        """
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._count += 1
        name = f"{self._folder}/{self._count}-{client}"
        try:
            end.setblocking(False)
            with contextlib.suppress(OSError):  # a name that is too long, or a disk that is full: no name
                end.bind(name)
            end.connect(self.path)
        except OSError:
            end.close()
            raise
        finally:
            with contextlib.suppress(OSError):
                os.unlink(name)  # whoever is connected keeps it
        return end

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self._folder, ignore_errors=True)


def client_of(peer: str) -> str:
    """Return the client in what gRPC calls a peer, unix:/tmp/atd-x/7-10.0.0.7.

    A hyphen for any other, and for "": so the library calls the peer of a call that has ended already.
    """
    kind, _, path = peer.partition(":")
    number, _, client = unquote(path).rpartition("/")[2].partition("-")
    return client if kind == "unix" and number.isdigit() and client else "-"
