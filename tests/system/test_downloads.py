"""Downloads that break off and go on, against a server on loopback."""

import concurrent.futures
import json
import socket
import threading

import broken_server
import pytest
from broken_server import OLD

from keras_wrn import InputError
from keras_wrn.system import downloads, locks
from keras_wrn.system.downloads import AbsentError, BrokenError, download
from keras_wrn.system.files import sha256

NEW = bytes(reversed(OLD))
HALF = len(OLD) // 2


@pytest.fixture
def server():
    with broken_server.running() as served:
        yield served


@pytest.fixture
def target(tmp_path):
    return tmp_path / "data" / "file"


@pytest.fixture
def one_try(monkeypatch):
    monkeypatch.setattr(downloads, "TRIES", 1)


def names(target):
    return sorted(path.name for path in target.parent.glob("*")) if target.parent.exists() else []


def broken(server, target, cut=HALF, **options):
    """Download until it breaks off."""
    server.cuts = [cut]
    with pytest.raises(BrokenError) as caught:
        download(server.url, target, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("headers", "mark"),
    [
        ({"ETag": '"1"'}, '"1"'),
        ({"Last-Modified": "Sat, 28 Nov 2026 10:00:00 GMT"}, "Sat, 28 Nov 2026 10:00:00 GMT"),
        # A weak tag does not stand for the bytes.
        (
            {"ETag": 'W/"1"', "Last-Modified": "Sat, 28 Nov 2026 10:00:00 GMT"},
            "Sat, 28 Nov 2026 10:00:00 GMT",
        ),
    ],
)
@pytest.mark.usefixtures("one_try")
def test_a_download_goes_on_where_it_broke(server, target, headers, mark):
    server.headers = headers
    said = broken(server, target, sha256=sha256(OLD))
    assert said == (
        f"The download of {server.url} gave 256,000 bytes of 512,000. It broke off. They are kept, "
        "and the same command goes on from there."
    )
    assert names(target) == [".part-file", ".part-file.json"]
    assert (target.parent / ".part-file").read_bytes() == OLD[:HALF]
    download(server.url, target, sha256=sha256(OLD))
    assert server.asked == [(None, None), (f"bytes={HALF}-", mark)]
    assert target.read_bytes() == OLD
    assert names(target) == ["file"]


def test_it_goes_on_by_itself_as_long_as_something_comes(server, target, capsys):
    server.cuts = [100_000, 50_000]
    download(server.url, target)
    assert [ranged for ranged, _ in server.asked] == [None, "bytes=100000-", "bytes=150000-"]
    assert target.read_bytes() == OLD
    assert (
        f"Downloading {server.url}, 0.5 MB, of which 0.1 MB are here\n" in capsys.readouterr().out
    )
    server.asked.clear()
    server.cuts = [1000, 0, 1000]
    with pytest.raises(BrokenError, match=r"gave 1,000 bytes of 512,000.*They are kept"):
        download(server.url, target)
    assert len(server.asked) == 2
    server.cuts, server.asked = [1] * 10, []
    with pytest.raises(BrokenError, match=r"gave 1,005 bytes of 512,000"):
        download(server.url, target)
    assert len(server.asked) == downloads.TRIES
    assert target.read_bytes() == OLD, "the file of before is there until the new one is whole"


@pytest.mark.usefixtures("one_try")
def test_a_file_that_changed_is_not_mixed_with_its_old_half(server, target):
    broken(server, target)
    server.content, server.headers = NEW, {"ETag": '"2"'}
    download(server.url, target)
    assert server.asked[1] == (f"bytes={HALF}-", '"1"')
    assert target.read_bytes() == NEW
    # A server that does not compare versions, and says so.
    broken(server, target)
    server.headers = {"ETag": '"3"', "X-Old": '"2"'}
    with pytest.raises(InputError, match=r"gave another part: .*Nothing was kept"):
        download(server.url, target)
    assert names(target) == ["file"]


@pytest.mark.usefixtures("one_try")
def test_a_half_of_another_address_is_not_used(server, target):
    broken(server, target)
    download(f"{server.url}?other", target)
    assert server.asked == [(None, None)] * 2
    assert target.read_bytes() == OLD


@pytest.mark.usefixtures("one_try")
def test_a_server_that_ignores_range_is_asked_for_all(server, target):
    server.ranges = False
    broken(server, target)
    download(server.url, target)
    assert server.asked[1] == (f"bytes={HALF}-", '"1"')
    assert target.read_bytes() == OLD


@pytest.mark.parametrize(
    "wrong",
    [
        f"bytes 0-{len(OLD) - 1}/{len(OLD)}",
        f"bytes {HALF}-{len(OLD)}/{len(OLD) + 1}",
        f"bytes {HALF}-1/{len(OLD)}",
        "half of it",
    ],
)
@pytest.mark.usefixtures("one_try")
def test_another_part_than_the_rest_is_refused(server, target, wrong):
    broken(server, target)
    server.content_range = wrong
    with pytest.raises(InputError, match=rf"another part: Content-Range '{wrong}'. Nothing was"):
        download(server.url, target)
    assert names(target) == []
    download(server.url, target)
    assert server.asked[-1] == (None, None)
    assert target.read_bytes() == OLD


@pytest.mark.usefixtures("one_try")
def test_a_file_that_became_shorter_is_started_again(server, target):
    broken(server, target)
    server.content = NEW[:1000]
    download(server.url, target)
    assert server.asked[1:] == [(f"bytes={HALF}-", '"1"'), (None, None)]
    assert target.read_bytes() == NEW[:1000]
    server.content = b""
    with pytest.raises(BrokenError, match="was refused: HTTP 416"):
        download(server.url, target)


@pytest.mark.usefixtures("one_try")
def test_without_a_mark_of_the_version_nothing_is_kept(server, target):
    server.headers = {"X-Nothing": ""}
    assert broken(server, target).endswith("It broke off. Nothing was kept; try again.")
    assert names(target) == []
    assert not target.parent.exists()


@pytest.mark.usefixtures("one_try")
def test_a_whole_file_that_got_no_name_is_not_asked_for_again(server, target):
    """Killed between the last byte and the new name."""
    target.parent.mkdir()
    part = target.parent / ".part-file"
    part.write_bytes(OLD)
    notes = {"url": server.url, "size": len(OLD), "mark": '"1"'}
    (target.parent / ".part-file.json").write_text(json.dumps(notes))
    download(server.url, target, sha256=sha256(OLD))
    assert (server.asked, names(target)) == ([], ["file"])
    # The hash decides, not the notes.
    part.write_bytes(NEW)
    (target.parent / ".part-file.json").write_text(json.dumps(notes))
    with pytest.raises(InputError, match="damaged or another file"):
        download(server.url, target, sha256=sha256(OLD))
    assert names(target) == ["file"]
    # Damaged notes are none.
    part.write_bytes(OLD[:HALF])
    (target.parent / ".part-file.json").write_text("{")
    download(server.url, target, sha256=sha256(OLD))
    assert server.asked == [(None, None)]


def test_another_file_is_not_kept(server, target):
    with pytest.raises(InputError, match=rf"{server.url} is damaged or another.*Nothing was kept"):
        download(server.url, target, sha256=sha256(NEW))
    assert not target.parent.exists()
    with pytest.raises(InputError, match="it has 512,000 bytes, and must have 512,001"):
        download(server.url, target, size=512_001)
    assert not target.parent.exists()


@pytest.mark.usefixtures("one_try")
def test_a_server_that_falls_silent_is_given_up(server, target, monkeypatch):
    server.silent.clear()
    with monkeypatch.context() as patch:
        patch.setattr(downloads, "TIMEOUT", 0.3)
        assert broken(server, target) == (
            f"The download of {server.url} gave 256,000 bytes of 512,000. Nothing came for 0.3 "
            "seconds. They are kept, and the same command goes on from there."
        )
    server.silent.set()
    download(server.url, target)
    assert target.read_bytes() == OLD


@pytest.mark.usefixtures("one_try")
def test_a_server_that_is_gone_leaves_what_is_kept(server, target):
    broken(server, target)
    server.before = lambda: (_ for _ in ()).throw(ConnectionResetError)
    with pytest.raises(BrokenError, match=r"gave 256,000 bytes of 512,000\. .*reached.*are kept"):
        download(server.url, target)
    server.before = lambda: None
    download(server.url, target)
    assert target.read_bytes() == OLD


def test_a_full_disk_leaves_nothing(server, target, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(downloads, "_write", full)
    with pytest.raises(OSError, match="No space left"):
        download(server.url, target)
    assert not target.parent.exists()


def test_of_two_at_the_same_time_one_downloads(server, target, capsys, monkeypatch):
    """In two threads: flock's locks belong to open files, as those of two processes do."""
    waits, note = threading.Event(), locks.note
    monkeypatch.setattr(locks, "note", lambda text: note(text) or waits.set())
    server.before = lambda: waits.wait(30)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(download, server.url, target, sha256=sha256(OLD)) for _ in range(2)]
        assert [job.result() for job in jobs] == [None, None]
    assert len(server.asked) == 1
    assert (target.read_bytes(), names(target)) == (OLD, ["file"])
    assert f"Waiting for another process that downloads {server.url}." in capsys.readouterr().err


def test_where_there_are_no_locks_nothing_is_shared(server, target, monkeypatch):
    monkeypatch.setattr(locks, "fcntl", None)
    monkeypatch.setattr(downloads, "TRIES", 1)
    assert broken(server, target).endswith("Nothing was kept; try again.")
    assert names(target) == []
    download(server.url, target)
    assert server.asked == [(None, None)] * 2
    assert (target.read_bytes(), names(target)) == (OLD, ["file"])


def test_what_does_not_exist_has_its_own_error(tmp_path):
    with pytest.raises(AbsentError, match="does not exist"):
        download((tmp_path / "none").as_uri(), tmp_path / "file")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/file"
    with pytest.raises(BrokenError, match="could not be reached: .*refused"):
        download(url, tmp_path / "file")
    assert list(tmp_path.iterdir()) == []
