"""Versions are found, swapped without a gap, and broken ones leave the old in place."""

import gc
import re
import shutil
import threading
import urllib.request
import weakref

import pytest
from background_server import Doubler, running, write_version

from keras_wrn.errors import InputError
from keras_wrn.serving.refusal import Refusal
from keras_wrn.serving.repository import Repository


def opened(folder, **options):
    repository = Repository(folder, Doubler, **options)
    repository.refresh()
    return repository


@pytest.fixture
def folder(tmp_path):
    write_version(tmp_path / "wrn", 1)
    return tmp_path / "wrn"


def test_one_model_has_the_name_of_its_folder_or_its_own(folder):
    assert opened(folder).names() == ["wrn"]
    assert opened(folder, name="net").names() == ["net"]
    with pytest.raises(InputError, match="holds models with names: wrn"):
        Repository(folder.parent, Doubler, name="net")
    with pytest.raises(InputError, match="`name` is for one model"):
        Repository(folder.parent, Doubler, name="wrn")


def test_a_folder_of_models_is_watched_for_further_ones(folder):
    write_version(folder.parent / "digits", 3)
    (folder.parent / "notes").mkdir()
    repository = opened(folder.parent)
    assert repository.names() == ["digits", "wrn"]
    write_version(folder.parent / "new", 12)
    repository.refresh()
    assert repository.find("new")[0] == 12


def test_a_folder_without_models_is_refused(tmp_path):
    for place in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError, match="must hold a model"):
            Repository(place, Doubler)


def test_the_newest_version_is_served_by_number_not_by_name(folder):
    write_version(folder, 9)
    write_version(folder, 10)
    write_version(folder, "x11")
    repository = opened(folder)
    assert repository.available("wrn") == [10]
    assert repository.find("wrn")[0] == 10
    with pytest.raises(Refusal, match=re.escape("Specific(wrn, 9)")) as caught:
        repository.find("wrn", 9)
    assert (caught.value.code, caught.value.status) == ("NOT_FOUND", 404)


def test_several_versions_and_labels(folder, caplog):
    for number in (2, 3, 4):
        write_version(folder, number)
    repository = opened(folder, keep=2, labels={("wrn", "stable"): 1})
    assert repository.available("wrn") == [1, 3, 4]
    assert repository.find("wrn", label="stable")[0] == 1
    assert [version.number for version in repository.status("wrn", label="stable")] == [1]
    with pytest.raises(Refusal, match="Unrecognized servable version label: canary"):
        repository.find("wrn", label="canary")
    with pytest.raises(InputError, match="label stable is for a model other; .* has wrn"):
        Repository(folder, Doubler, labels={("other", "stable"): 1})
    later = opened(folder, labels={("wrn", "stable"): 9})
    assert "The label stable: wrn has no version 9, but 1, 2, 3, 4" in caplog.text
    write_version(folder, 9)
    later.refresh()
    assert later.find("wrn", label="stable")[0] == 9
    with pytest.raises(InputError, match="Received: 0"):
        Repository(folder, Doubler, keep=0)


def test_a_broken_version_is_named_and_the_old_one_goes_on(folder, caplog):
    repository = opened(folder)
    old = repository.find("wrn")[1]
    write_version(folder, 2, "broken")
    for _ in range(3):
        repository.refresh()
    assert repository.find("wrn") == (1, old)
    [broken, fine] = repository.status("wrn")
    assert (broken.number, broken.servable, broken.error) == (2, None, "The file is broken.")
    assert fine.servable is old
    text = "wrn version 2 is broken, version 1 goes on: The file is broken."
    assert caplog.text.count(text) == 1  # tried once: its files are the same
    (folder / "2" / "saved_model.pb").write_text("3")
    repository.refresh()
    assert repository.available("wrn") == [2]


def test_what_cannot_be_read_leaves_the_others(folder, monkeypatch, caplog):
    (folder.parent / "lost+found").mkdir()
    (folder / "1" / "link").symlink_to("nothing")
    write_version(folder, 2)
    refused = {"iterdir": folder.parent / "lost+found", "is_file": folder / "2" / "saved_model.pb"}
    for name, place in refused.items():
        function = getattr(type(folder), name)

        def refuse(path, *rest, function=function, place=place, **options):
            if path == place:
                raise PermissionError(13, "Permission denied", str(path))
            return function(path, *rest, **options)

        monkeypatch.setattr(type(folder), name, refuse)
    assert opened(folder.parent).available("wrn") == [1]
    assert f"{folder / '2'} cannot be read by this user" in caplog.text


def test_a_version_that_cannot_run_is_broken(folder):
    class Failing(Doubler):
        def run(self, signature_name, arrays):
            raise Refusal("The graph does not run.")

    repository = Repository(folder, Failing)
    repository.refresh()
    assert repository.broken() == ["wrn"]
    assert repository.status("wrn")[0].error == "The graph does not run."


def test_a_start_with_a_broken_version_serves_the_one_before(folder):
    write_version(folder, 2, "broken")
    assert opened(folder).available("wrn") == [1]


def test_a_version_taken_back_makes_way_for_the_one_before(folder):
    write_version(folder, 2)
    repository = opened(folder)
    shutil.rmtree(folder / "2")
    repository.refresh()
    assert repository.available("wrn") == [1]


def test_a_version_that_is_written_again_is_loaded_again(folder, caplog):
    repository = opened(folder)
    shutil.rmtree(folder / "1")
    write_version(folder, 1, "5")
    repository.refresh()
    assert repository.find("wrn")[1].factor == 5
    (folder / "1" / "saved_model.pb").write_text("broken")
    for _ in range(2):
        repository.refresh()
    assert repository.find("wrn")[1].factor == 5
    assert caplog.text.count("version 1 is broken, version 1 goes on") == 1


@pytest.mark.usefixtures("real_gc")
def test_a_model_that_was_in_use_when_it_went_is_let_go_later(folder):
    repository = opened(folder)
    in_use = repository.find("wrn")[1]
    in_use.circle = in_use  # as TensorFlow's models, it waits for the garbage collector
    gone = weakref.ref(in_use)
    write_version(folder, 2)
    repository.refresh()
    assert gone() is not None
    del in_use
    repository.refresh()
    assert gone() is None


def test_memory_serves_what_the_disk_has_lost(folder):
    repository = opened(folder)
    shutil.rmtree(folder / "1")
    repository.refresh()
    assert repository.available("wrn") == [1]
    write_version(folder, 2)
    repository.refresh()
    assert repository.available("wrn") == [2]


def test_a_version_that_is_in_use_ends_its_work(folder):
    repository = opened(folder)
    _, old = repository.find("wrn")
    write_version(folder, 2, "5")
    repository.refresh()
    import numpy as np

    inputs = {"x": np.ones((1, 2), np.float32)}
    assert old.run("serving_default", inputs)["doubled"].tolist() == [[2, 2]]
    new = repository.find("wrn")[1]
    assert new.run("serving_default", inputs)["doubled"].tolist() == [[5, 5]]


def test_no_request_fails_while_versions_come_and_go(folder):
    answers, failures, end = [], [], threading.Event()

    def ask(url):
        while not end.is_set():
            try:
                request = urllib.request.Request(url, b'{"instances": [[1, 1]]}')
                with urllib.request.urlopen(request, timeout=10) as reply:
                    answers.append((reply.headers["x-model-version"], reply.read()))
            except OSError as error:
                failures.append(error)

    with running(folder, load=Doubler, grpc=False, poll_seconds=0.02) as server:
        url = f"{server.url}/v1/models/wrn:predict"
        threads = [threading.Thread(target=ask, args=(url,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(2, 12):
            write_version(folder, number, "broken" if number % 5 == 0 else str(number))
            while server.service.repository.available("wrn") != [number - (number % 5 == 0)]:
                pass
        while not failures and "11" not in {version for version, _ in list(answers)}:
            pass
        end.set()
        for thread in threads:
            thread.join()
    assert not failures
    for version, text in answers:
        factor = 2 if version == "1" else int(version)
        assert text == b'{"predictions":[[%d.0,%d.0]]}' % (factor, factor)


@pytest.mark.usefixtures("real_gc")
def test_the_garbage_collector_leaves_models_alone_until_they_go(folder):
    class Cyclic(Doubler):
        def __init__(self, folder):
            super().__init__(folder)
            self.itself = self

    repository = Repository(folder, Cyclic)
    repository.refresh()
    first = weakref.ref(repository.find("wrn")[1])
    assert gc.get_freeze_count() > 1000
    gc.collect()
    write_version(folder, 2)
    repository.refresh()
    assert first() is None
