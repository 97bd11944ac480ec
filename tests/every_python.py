"""Runs the tests of the core (clock, bus, pump) on every Python we support that this machine has.

    python tests/every_python.py [pytest arguments]

Looks for python3.11, python3.12, ... on PATH and among pyenv's versions. Each gets a small virtual environment under
`.venv/pythons/`, made once. Says which versions ran and which were not found; fails if one fails or none is found.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / ".venv" / "pythons"
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
REQUIRED = ("3.11", "3.12", "3.13")
PACKAGES = ("numpy", "msgspec", "pytest", "hypothesis")
PINNED = ROOT / "constraints.txt"
TESTS = ("tests/test_clock.py", "tests/test_bus.py", "tests/test_pump.py")


def pyenv_versions() -> Path | None:
    """The folder of pyenv's interpreters, if there is a pyenv."""
    root = os.environ.get("PYENV_ROOT")
    if not root and (pyenv := shutil.which("pyenv")):
        root = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=False).stdout.strip()
    return Path(root) / "versions" if root else None


def works(python: Path, version: str) -> bool:
    """Whether `python` starts (a pyenv shim may not) and is of `version`."""
    ask = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
    answer = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=False)
    return answer.returncode == 0 and answer.stdout.strip() == version


def find(version: str) -> Path | None:
    """An interpreter of `version`, or None."""
    candidates = [Path(folder) / f"python{version}" for folder in os.get_exec_path()]
    if (versions := pyenv_versions()) and versions.is_dir():
        candidates += [path / "bin" / "python" for path in sorted(versions.glob(f"{version}.*"), reverse=True)]
    return next((path for path in candidates if path.is_file() and works(path, version)), None)


def environment(python: Path, version: str) -> Path:
    """The interpreter of a virtual environment with what the core's tests need; made if it is not there."""
    home = PLACE / version
    inside, ready = home / "bin" / "python", home / "ready"
    if ready.is_file() and ready.read_text() == " ".join(PACKAGES) and works(inside, version):
        return inside
    shutil.rmtree(home, ignore_errors=True)
    subprocess.run([python, "-m", "venv", home], check=True)
    subprocess.run(
        [inside, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-c", PINNED, *PACKAGES], check=True
    )
    ready.write_text(" ".join(PACKAGES))
    return inside


def main(arguments: list[str]) -> int:
    """Run the tests on each version in turn; the exit status."""
    outcomes: dict[str, str] = {}
    for version in VERSIONS:
        python = find(version)
        if python is None:
            outcomes[version] = "not found" if version in REQUIRED else "not found (not required)"
            continue
        print(f"--- Python {version}: {python}", flush=True)
        try:
            inside = environment(python, version)
        except subprocess.CalledProcessError as error:
            outcomes[version] = f"FAILED: no environment ({error})"
            continue
        tests = [str(inside), "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS, *arguments]
        status = subprocess.run(tests, cwd=ROOT, check=False).returncode
        outcomes[version] = "passed" if status == 0 else f"FAILED (pytest exit {status})"
    for version, outcome in outcomes.items():
        print(f"Python {version}: {outcome}")
    failed = any(outcome.startswith("FAILED") for outcome in outcomes.values())
    return 1 if failed or "passed" not in outcomes.values() else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
