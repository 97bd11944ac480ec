"""Every benchmark that `make bench` names starts the way it is started there, with what a setup installs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
BENCHES = MAKEFILE.partition("BENCHES ?= ")[2].partition("\n")[0].split()


def test_make_bench_starts_them_as_modules() -> None:
    assert set(BENCHES) == {"bus", "vad", "speech", "recording", "session"}
    assert "$(BIN)/python -m benchmarks.$$b" in MAKEFILE


@pytest.mark.parametrize("name", BENCHES)
def test_it_starts(name: str) -> None:
    for module in ("av", "onnxruntime", "pocketsphinx", "espeakng_loader"):
        pytest.importorskip(module)
    without = "import sys, runpy; sys.modules['scipy'] = None; sys.argv = ['x', '--help'];"
    code = f"{without} runpy.run_module('benchmarks.{name}', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.match("usage:", done.stdout)
