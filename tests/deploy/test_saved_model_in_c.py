"""TensorFlow's C library, which TF Serving is made of, runs every signature of an export."""

import io
import shutil
import subprocess
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from tiny_run import DIGITS, random_images

import keras_wrn
from keras_wrn.inference import classifier
from keras_wrn.serving.servable import read_signatures

if keras.config.backend() != "tensorflow":
    pytest.skip("a SavedModel needs TensorFlow", allow_module_level=True)
if shutil.which("cc") is None:
    pytest.skip("there is no C compiler", allow_module_level=True)
SOURCE = Path(__file__).parents[1] / "helpers" / "ask_saved_model.c"


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    tf = pytest.importorskip("tensorflow")
    place = Path(tf.sysconfig.get_lib())
    if not (place / "libtensorflow_cc.so.2").is_file():
        pytest.skip("this TensorFlow has no library for C programs")
    target = tmp_path_factory.mktemp("c") / "ask"
    libraries = ["-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"]
    links = [f"-L{place}", *libraries, f"-Wl,-rpath,{place}"]
    subprocess.run(
        ["cc", "-O1", "-Wall", "-Werror", f"-I{place}/include", SOURCE, "-o", target, *links],
        check=True,
    )
    return target


@pytest.mark.parametrize("batching", [False, True])
def test_all_signatures_answer_as_keras_does(program, batching, tmp_path):
    model = keras_wrn.WideResNet(10, 1)
    folder = keras_wrn.export(model, tmp_path / "served", DIGITS, batching=batching)
    image = random_images(1)[0]
    expected = classifier.class_probabilities(model, image[None], DIGITS)[0]
    png = io.BytesIO()
    Image.fromarray(image).save(png, "PNG")
    files = {"uint8": tmp_path / "pixels.32x32x3", "string": tmp_path / "image.png"}
    files["uint8"].write_bytes(image.tobytes())
    files["string"].write_bytes(png.getvalue())
    signatures = read_signatures(folder / "saved_model.pb")
    assert set(signatures) == {"serving_default", "serving_bytes", "features"}
    for signature in signatures.values():
        (taken,) = signature.inputs.values()
        kind = "string" if taken.dtype == "DT_STRING" else "uint8"
        returned = signature.outputs["probabilities"].name
        done = subprocess.run(
            [program, folder, taken.name, kind, files[kind], returned],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found = np.array(done.stdout.split(), np.float32)
        np.testing.assert_allclose(found, expected, atol=1e-6)
