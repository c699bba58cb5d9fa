"""Why runs cannot be kept in a place: a file that cannot be written, a server that does not answer.

Knows addresses and sockets; imports no MLflow.
"""

import os
import re
import socket
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from regraft.adapters.write_faults import free_bytes, size_text

DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
_LEAST_FREE_BYTES = 2_000_000  # MLflow's empty tables are 0.9 MB, and a change is written twice


def find_file_fault(database: Path) -> str | None:
    """Why a SQLite file cannot be written, in a few words; None if it can."""
    if not database.parent.is_dir():
        return f"there is no folder {database.parent}"
    if not os.access(database if database.exists() else database.parent, os.W_OK):
        return "no right to write there"
    free = free_bytes(database)
    return f"no room on the disk, {size_text(free)} free" if free < _LEAST_FREE_BYTES else None


def find_server_fault(uri: str, timeout_s: float) -> str | None:
    """Why a server does not answer; None if it does, or if nothing is known of its kind."""
    parts = urlsplit(uri)
    scheme = parts.scheme.split("+")[0]
    if scheme in {"http", "https"}:
        return _find_http_fault(f"{uri.rstrip('/')}/health", timeout_s)
    if scheme in DATABASE_PORTS and parts.hostname:
        address = (parts.hostname, parts.port or DATABASE_PORTS[scheme])
        try:
            socket.create_connection(address, timeout_s).close()
        except OSError as error:
            return _reason(error)
    return None


def _find_http_fault(url: str, timeout_s: float) -> str | None:
    """Any answer will do, were it a request to log in: MLflow says the rest better."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is sent, nothing believed
    request = urllib.request.Request(re.sub(r"//[^@/]*@", "//", url))
    try:
        urllib.request.urlopen(request, timeout=timeout_s, context=context).close()
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code}" if error.code in {502, 503, 504} else None
    except urllib.error.URLError as error:
        return _reason(error.reason)
    except (OSError, ValueError) as error:
        return _reason(error)
    return None


def _reason(error: object) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return text[:1].lower() + text[1:] if text else type(error).__name__
