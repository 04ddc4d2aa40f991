import numpy as np
import pytest
from PIL import Image
from tiny_run import DIGITS, random_images

from keras_wrn.errors import InputError
from keras_wrn.images.preprocessing import PREPROCESSING
from keras_wrn.insight.out_sets import load_out_sets, openood_group


def test_noise_is_the_same_each_time_and_fits_the_network():
    found = load_out_sets(["noise"], DIGITS, 12)["noise"]
    assert found.shape == (12, 32, 32, 3) and found.dtype == np.uint8
    np.testing.assert_array_equal(found, load_out_sets(["noise"], DIGITS, 12)["noise"])
    assert len(load_out_sets(["noise"], DIGITS, 5000)["noise"]) == 1000


def test_sets_have_the_network_s_own_shape(tmp_path):
    for name in ("train/a", "train/b", "test/a", "test/b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        Image.fromarray(random_images(1)[0]).save(tmp_path / "set" / name / "1.png")
    found = load_out_sets(["noise", str(tmp_path / "set")], DIGITS, 2, shape=(16, 20, 1))
    assert {images.shape for images in found.values()} == {(2, 16, 20, 1)}


def test_data_sets_and_files_by_their_names(tmp_path):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    scipy_io = pytest.importorskip("scipy.io", reason="scipy is not installed")
    images = random_images(9)
    np.save(tmp_path / "mine.npy", images)
    scipy_io.savemat(tmp_path / "test_32x32.mat", {"X": images.transpose(1, 2, 3, 0)})
    sources = ["digits", str(tmp_path / "mine.npy"), f"svhn={tmp_path / 'test_32x32.mat'}"]
    found = load_out_sets(sources, DIGITS, 3)
    assert list(found) == ["digits", "mine", "svhn"]
    assert [len(each) for each in found.values()] == [3, 3, 3]
    np.testing.assert_array_equal(found["svhn"], found["mine"])
    np.testing.assert_array_equal(found["mine"][0], images[0])


def test_what_is_no_set_of_images(tmp_path):
    np.save(tmp_path / "floats.npy", np.zeros((2, 32, 32, 3)))
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "text.mat").write_text("<html>not found</html>" * 20)
    pytest.importorskip("scipy", reason="scipy is not installed")
    cases = {
        "floats.npy": r"uint8 of shape \(n, 32, 32, 3\). Received: float64",
        "text.npy": "must hold one NumPy array",
        "text.mat": "cannot be read as a .mat file",
        "absent.npy": "files that exist",
    }
    for name, sentence in cases.items():
        with pytest.raises(InputError, match=sentence):
            load_out_sets([str(tmp_path / name)], DIGITS, 3)
    with pytest.raises(InputError, match="'noise' twice"):
        load_out_sets(["noise", "noise"], DIGITS, 3)
    with pytest.raises(InputError, match="must be one of"):
        load_out_sets(["nonsense"], DIGITS, 3)


def test_openood_groups_are_for_cifar_alone():
    names = PREPROCESSING["cifar100"].class_names
    assert openood_group("cifar10", names) == "near"
    assert openood_group("tiny-imagenet-small", names) == "near"
    assert openood_group("svhn_first1083", names) == "far"
    assert openood_group("noise", names) is None
    assert openood_group("cifar100", DIGITS.class_names) is None
