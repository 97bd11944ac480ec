"""What every benchmark prints first, and how it sums up what it measured."""

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def machine(*packages: str) -> str:
    """One line: processor, cores, load, Python and the versions of `packages`. Figures mean nothing without it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    python = f"{platform.python_implementation()} {platform.python_version()}"
    parts = [models[0] if models else platform.machine(), f"{os.cpu_count()} cores", f"load {load}", python]
    return ", ".join([*parts, *(f"{name} {_version(name)}" for name in packages)])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of `values` that `percent` % of them do not exceed (nearest rank)."""
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, min(len(ordered), int(rank)) - 1)]


def spread(values: Sequence[float], unit: str = "", scale: float = 1.0) -> str:
    """`p50 … p99 … max …` of `values`, each times `scale`."""
    figures = ((name, percentile(values, percent)) for name, percent in (("p50", 50), ("p99", 99), ("max", 100)))
    return "  ".join(f"{name} {value * scale:8.1f} {unit}".rstrip() for name, value in figures) + f"  (n={len(values)})"
