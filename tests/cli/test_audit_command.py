"""`keras-wrn audit`: the findings in words and as JSON."""

import json

import keras_wrn
from keras_wrn.cli.main import main, parse


def test_findings_in_words_and_as_json(tmp_path, capsys):
    path = tmp_path / "theirs.keras"
    conventions = keras_wrn.Conventions(bn_momentum=0.1)
    keras_wrn.WideResNet(10, 1, conventions=conventions).save(path)
    assert main(parse(["audit", str(path)])) == 0
    words = capsys.readouterr().out
    assert words.startswith("wide_resnet10_1: 1, 1, 1 blocks of B(3,3), 77,850 trainable")
    assert "bn_momentum: momentum=0.1 in group1_block1_bn1 and 6 more" in words
    assert main(parse(["audit", str(path), "--json"])) == 0
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert (finding["trap"], finding["mend"]) == (
        "bn_momentum",
        "BatchNormalization(momentum=0.9)",
    )


def test_an_absent_file_is_a_sentence(capsys):
    assert main(parse(["audit", "absent.keras"])) == 2
    assert "must exist. Received: absent.keras" in capsys.readouterr().err
