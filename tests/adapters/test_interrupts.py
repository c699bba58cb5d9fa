"""Signals sent to real processes."""

import signal
import subprocess
import sys

import pytest

SCRIPT = """
import sys, time
from regraft.adapters import interrupts
{before}
interrupts.raise_on_termination()
interrupts.raise_once_on_interrupt()
try:
    print("ready", flush=True)
    {during}
finally:
    print("put in order", flush=True)
    {after}
"""


def run(
    *numbers: signal.Signals,
    before: str = "",
    during: str = "time.sleep(60)",
    after: str = "",
    first_after: str = "ready",
) -> tuple[int, str]:
    """Send signals to a script, the first after a line, each other one after one more; its status and its lines."""
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(before=before, during=during, after=after)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        told = ""
        while first_after not in told.splitlines():
            told += process.stdout.readline()
        for number in numbers[:-1]:
            process.send_signal(number)
            told += process.stdout.readline()
        process.send_signal(numbers[-1])
        told += process.stdout.read()
    return process.returncode, told


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_process_told_to_end_does_so_in_order(number: signal.Signals, status: int) -> None:
    assert run(number) == (status, "ready\nput in order\n")


def test_ctrl_c_is_pythons_own() -> None:
    status, told = run(signal.SIGINT)
    assert (abs(status), told) in [(2, "ready\nput in order\n"), (130, "ready\nput in order\n")]


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_does_not_wait(first: signal.Signals) -> None:
    status, told = run(first, signal.SIGINT, after="time.sleep(60)")
    assert (status, told) == (-signal.SIGINT, "ready\nput in order\n")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, -2)])
def test_what_a_library_swallows_is_raised_again(number: signal.Signals, status: int) -> None:
    swallow = (
        "exec('try:\\n    time.sleep(60)\\nexcept BaseException:\\n    pass'); interrupts.raise_if_received()"
    )
    assert run(number, during=swallow) == (status, "ready\nput in order\n")


IN_A_BLOCK = """
def block(last=lambda: None):
    with interrupts.postponed():
        with interrupts.postponed():
            print("inside", flush=True)
            while not interrupts.received():
                time.sleep(0.01)
        print("still inside", flush=True)
        last()
    print("never told")
"""


def test_a_signal_in_a_block_that_postpones_it_raises_at_the_end_of_the_outermost() -> None:
    ended = run(signal.SIGTERM, before=IN_A_BLOCK, during="block()", first_after="inside")
    assert ended == (143, "ready\ninside\nstill inside\nput in order\n")


def test_a_second_signal_does_not_wait_for_the_end_of_the_block() -> None:
    ended = run(
        signal.SIGTERM,
        signal.SIGTERM,
        before=IN_A_BLOCK,
        during="block(last=lambda: time.sleep(60))",
        first_after="inside",
    )
    assert ended == (-signal.SIGTERM, "ready\ninside\nstill inside\n")


def test_a_block_on_another_thread_postpones_nothing() -> None:
    before = """import threading

def wait():
    with interrupts.postponed():
        time.sleep(60)
"""
    during = "threading.Thread(target=wait, daemon=True).start(); time.sleep(60)"
    assert run(signal.SIGTERM, before=before, during=during) == (143, "ready\nput in order\n")


def test_a_signal_that_is_ignored_stays_so() -> None:
    ignore = "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)"
    assert run(signal.SIGHUP, before=ignore, during="time.sleep(0.5)") == (0, "ready\nput in order\n")


DATABASE = """
import logging, os, signal, sys
import sqlalchemy
from regraft.adapters import interrupts

logging.basicConfig(level=logging.WARNING)
interrupts.raise_on_termination()
engine = sqlalchemy.create_engine("sqlite://", poolclass=sqlalchemy.pool.QueuePool)

@sqlalchemy.event.listens_for(engine, "reset")
def interrupt(*_):
    if sys.argv[1] == "signal":
        os.kill(os.getpid(), signal.SIGTERM)
    raise RuntimeError("a fault of its own")

engine.connect().close()
"""


@pytest.mark.parametrize(("cause", "is_told", "status"), [("signal", False, 143), ("fault", True, 0)])
def test_a_database_interrupted_in_its_work_says_nothing(cause: str, is_told: bool, status: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", DATABASE, cause], capture_output=True, text=True, check=False, timeout=300
    )
    assert ("Exception during reset" in ended.stderr) == is_told, ended.stderr
    assert ("Traceback" in ended.stderr) == is_told
    assert ended.returncode == status


IN_MLFLOW = """
import logging, os, signal, sqlite3, sys
import sqlalchemy
from mlflow.exceptions import MlflowException
from mlflow.store.db.utils import _get_managed_session_maker
from regraft.adapters import interrupts

interrupts.raise_on_termination()
engine = sqlalchemy.create_engine("sqlite://")

def interrupted():
    if sys.argv[1] == "signal":
        os.kill(os.getpid(), signal.SIGTERM)
    raise RuntimeError("a fault of its own")

@sqlalchemy.event.listens_for(engine, "connect")
def offer(connection, _):
    connection.create_function("interrupted", 0, interrupted)

try:
    with _get_managed_session_maker(sqlalchemy.orm.sessionmaker(bind=engine), "sqlite")() as session:
        session.execute(sqlalchemy.text("SELECT interrupted()"))
except MlflowException:
    interrupts.raise_if_received()
"""


@pytest.mark.parametrize(("cause", "is_told", "status"), [("signal", False, 143), ("fault", True, 0)])
def test_what_sqlite_takes_for_a_fault_of_its_own_says_nothing(
    cause: str, is_told: bool, status: int
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", IN_MLFLOW, cause], capture_output=True, text=True, check=False, timeout=300
    )
    assert ("SQLAlchemy database error" in ended.stderr) == is_told, ended.stderr
    assert ("Traceback" in ended.stderr) == is_told
    assert ended.returncode == status
