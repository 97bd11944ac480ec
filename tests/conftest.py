"""Fixtures every test may use."""

import signal
from pathlib import Path

import pytest

# A run in the background ignores Ctrl-C, one under `nohup` the end of the terminal, and so would every program that the
# tests start in order to press it, or to close it. What is handled here is not inherited.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings beside the checkout; tests that need it are skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("no folder of real recordings beside the checkout (shared/data)")
    return SHARED_DATA
