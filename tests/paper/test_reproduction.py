"""Rows of the paper, selected, trained small, resumed, gathered and printed."""

import dataclasses
import json
import shutil
import signal
from pathlib import Path

import pytest
from paper_runs import row_of, write_card

from keras_wrn.errors import InputError, Interrupted
from keras_wrn.paper import comparison, hours, jobs, page, reproduction
from keras_wrn.paper import scale as scaled_down
from keras_wrn.paper.scale import Scale, parse_scale
from keras_wrn.paper.tables import ROWS
from keras_wrn.training import run as training
from keras_wrn.training.recipe import Recipe

DIGITS = Scale(narrow=8)
ONE_EPOCH = 1 / 200


def markdown(workdir, *experiments, scale=None, **options):
    rows = reproduction.select(list(experiments))
    return comparison.as_markdown(
        comparison.report_on(rows, [], Path(workdir), scale=scale, **options)
    )


@pytest.fixture(scope="module")
def scaled_runs(tmp_path_factory):
    """Two seeds of a row on the digits: the first trained, the second stopped on its way.

    The same command went on with it, and left the first alone. The second run's results are the
    first's, of another seed and with an error one point higher.
    """
    workdir = tmp_path_factory.mktemp("reproduction")
    row = row_of("table6", "16-4")
    folder = workdir / "scaled-digits-narrow-8" / "table6" / "16-4-cifar10"
    train, asked = training.train, []

    def pretend(recipe, workdir, **options):
        asked.append((recipe.seed, workdir))
        if len(asked) == 2:
            raise Interrupted(signal.SIGTERM, 11)
        if len(asked) == 3:
            shutil.copytree(folder / "seed1", workdir)
            card = json.loads((workdir / "card.json").read_text())
            card["seed"] = card["recipe"]["seed"] = 2
            card["metrics"]["error"] += 0.01
            (workdir / "card.json").write_text(json.dumps(card))
            (workdir / "recipe.json").write_text(json.dumps(card["recipe"]))
        return train(recipe, workdir, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scaled_down, "_DIGITS_EPOCHS", ONE_EPOCH)
        patch.setattr(training, "_draw", lambda *_: None)
        patch.setattr(training, "train", pretend)
        with pytest.raises(Interrupted, match="after step 11"):
            jobs.train_runs(jobs.plan([row], workdir, runs=2, scale=DIGITS))
        first = (folder / "seed1" / "card.json").stat().st_mtime_ns
        assert jobs.train_runs(jobs.plan([row], workdir, runs=2, scale=DIGITS)) == []
        assert (folder / "seed1" / "card.json").stat().st_mtime_ns == first
        assert asked == [(1, folder / "seed1"), *2 * [(2, folder / "seed2")]]
        yield workdir, row


def test_a_scaled_row_is_trained_resumed_and_printed(scaled_runs):
    workdir, row = scaled_runs
    outcome = reproduction.gather(row, workdir, DIGITS)
    assert [run.seed for run in outcome.runs] == [1, 2]
    assert outcome.recipe.epochs == 1 and outcome.recipe.width == 0.5
    report = comparison.report_on([row], [], workdir, scale=DIGITS)
    text = comparison.as_markdown(report)
    assert "SCALED DOWN, not the paper's experiment" in text
    assert "widths divided by 8" in text and "digits, for cifar10" in text
    low, high = outcome.errors()
    assert high - low == pytest.approx(1)
    assert f"{(low + high) / 2:.2f} ({low:.2f} to {high:.2f}) | 2 |" in text
    found = comparison.as_json(report)["rows"][0]
    assert found["ours"]["n"] == 2 and found["paper"]["errors"] == [5.02]
    assert found["ours"]["median"] == [pytest.approx((low + high) / 2)]
    json.dumps(comparison.as_json(report))
    other = row_of("table6", "16-4-dropout")
    [none] = comparison.as_json(comparison.report_on([other], [], workdir, scale=DIGITS))["rows"]
    assert none["parameters"] is None  # the paper's count is of a wider network


def test_scaled_runs_do_not_enter_the_papers_table(scaled_runs):
    workdir, row = scaled_runs
    assert reproduction.gather(row, workdir).runs == ()
    text = markdown(workdir, "table6")
    assert "SCALED" not in text and text.count("not measured") == 18
    folder = reproduction.folder_of(row, workdir, None)
    folder.parent.mkdir()
    folder.symlink_to(reproduction.folder_of(row, workdir, DIGITS))
    with pytest.raises(InputError, match="another experiment .* dataset is 'digits'"):
        reproduction.gather(row, workdir)
    folder.unlink()


def test_missing_data_is_a_sentence_and_the_other_rows_go_on(scaled_runs, tmp_path, monkeypatch):
    workdir, row = scaled_runs

    def no_network(*args, **options):
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    svhn = row_of("table6", "16-4", "svhn")
    rows = [dataclasses.replace(svhn, table="table0"), row]
    missing = Scale(0.001, 8)
    [failure] = jobs.train_runs(jobs.plan(rows[:1], workdir, scale=missing), data_dir=tmp_path)
    assert "table0/16-4-svhn: train_32x32.mat, test_32x32.mat are not in" in failure
    assert jobs.train_runs(jobs.plan(rows[1:], workdir, runs=2, scale=DIGITS)) == []


def test_median_and_spread(tmp_path):
    row = row_of("table4", "28-10")
    for seed, error in enumerate((4.3, 4.0, 4.1), start=1):
        write_card(tmp_path, row, seed, error)
    text = markdown(tmp_path, "table4")
    assert "| 36,479,194 | 4.17 | 4.10 (4.00 to 4.30) | 3 | 36.0 | 2.00 |" in text
    assert text.count("not measured") == 19
    assert "Runs were made on: 1 x a processor, float32, tensorflow." in text
    assert "Lowest error first" not in text
    write_card(tmp_path, row_of("table4", "16-8"), 1, 3.9)
    text = markdown(tmp_path, "table4")
    assert "Lowest error first, cifar10: the paper 28-10, 16-8; here 16-8, 28-10." in text
    assert "| 4.81 | 3.90 | 1 |" in text
    write_card(tmp_path, row_of("table4", "16-10"), 1, 3.9)
    assert "here 16-8 = 16-10, 28-10." in markdown(tmp_path, "table4")


def test_top_5_errors_stand_beside_top_1(tmp_path):
    write_card(tmp_path, row_of("table8", "50-2", "imagenet"), 1, 21.0)
    assert "| 21.90 / 6.03 | 21.00 / 7.00 | 1 |" in markdown(tmp_path, "table8")
    nine = markdown(tmp_path, "table9")
    assert "| 21.90 / 5.79 | 21.00 / 7.00 | 1 |" in nine and "pre-ResNet-200's" in nine


def test_rows_of_one_recipe_share_their_runs(tmp_path):
    write_card(tmp_path, row_of("table3", "l2"), 1, 5.4)
    assert reproduction.gather(row_of("table4", "40-2"), tmp_path).runs[0].errors == (5.4,)
    both = {
        reproduction.folder_of(row_of(t, "28-10"), tmp_path, None) for t in ("table5", "table6")
    }
    assert both == {tmp_path / "table5/28-10-cifar10"}
    whitened = reproduction.folder_of(row_of("table4", "28-10"), tmp_path, None)
    assert whitened == tmp_path / "table4/28-10-cifar10"


def test_damaged_results_are_refused_in_a_sentence(tmp_path):
    row = row_of("table4", "16-8")
    card = write_card(tmp_path, row, 1, 4.8, metrics={}) / "card.json"
    with pytest.raises(InputError, match=r"seed1/card.json is damaged: .*'error'"):
        reproduction.gather(row, tmp_path)
    card.write_text("{")
    with pytest.raises(InputError, match="card.json is damaged"):
        reproduction.gather(row, tmp_path)


def test_a_run_that_a_callback_ended_is_no_result(tmp_path):
    row = row_of("table4", "16-8")
    write_card(tmp_path, row, 1, 4.8, epochs=50)
    with pytest.raises(InputError, match="a callback ended it after 50 of 200 epochs"):
        reproduction.gather(row, tmp_path)


def test_peers_and_missing_runs_say_so(tmp_path):
    text = markdown(tmp_path, "table5", "table9")
    assert text.count("the paper's figure only") == 15
    assert text.count("| not measured |") == 15 + 5
    assert f"`python recipes/coco.py --workdir {tmp_path}/table9/34-2-coco/seed1`" in text
    assert f"`table5 --rows 28-10 --datasets cifar100 --workdir {tmp_path}`" in text
    report = comparison.report_on(reproduction.select(["all"]), [], tmp_path)
    shown = page.document(report, tmp_path, "all --table")
    assert "<!-- Generated: `python recipes/reproduce.py all --table`. Do not edit. -->" in shown
    assert "`python recipes/coco.py --workdir runs/reproduction/table9/34-2-coco/seed1`" in shown
    assert "`table5 --rows 28-10 --datasets cifar100`" in shown
    assert "trained here by this paper's recipe" in text


def test_the_page_says_first_what_was_trained(tmp_path):
    rows = reproduction.select(["table4"], ["40-1", "16-8"])
    report = comparison.report_on(rows, [], tmp_path)
    assert "\n\nTrained here: 0 of 4 rows. The others say" in page.document(report, tmp_path, "")
    for seed, error in ((1, 6.5), (2, 7.0)):
        write_card(tmp_path, row_of("table4", "40-1"), seed, error)
    text = page.document(comparison.report_on(rows, [], tmp_path), tmp_path, "").replace("\n", " ")
    assert "Trained here: 1 of 4 rows. WRN-40-1 on cifar10 (Table 4) has " in text
    assert "6.75 (6.50 to 7.00) %, n = 2; the paper 6.85 %, n = 5. The others say" in text


def test_hours_come_from_a_measured_speed(tmp_path):
    row = row_of("table4", "28-10")
    facts = {"images_per_second": 100.0, "multiply_adds": row.multiply_adds}
    facts |= {"precision": "float32", "image_size": 32, "batch": 128, "n": 3}
    facts |= {"hardware": "a card", "date": "2026-11-23"}
    facts |= {"network": hours.speed_key(row.recipe)}
    speeds = {"that": facts}
    (tmp_path / hours.SPEED_FILE).write_text(json.dumps(speeds))
    own = hours.estimated_hours(row, speeds)
    assert own == pytest.approx(200 * 390 * 128 / 100 / 3600)
    shallow = row_of("table4", "16-8")
    share = shallow.multiply_adds / row.multiply_adds
    assert hours.estimated_hours(shallow, speeds) == pytest.approx(share * own)
    assert hours.estimated_hours(row, speeds, "mixed_bfloat16") is None
    assert (
        hours.estimated_hours(row_of("table8", "50-2", "imagenet"), speeds) is None
    )  # other pixels
    assert hours.estimated_hours(row_of("table5", "nin"), speeds) is None
    text = markdown(tmp_path, "table4")
    assert text.count("| ~28 |") == 2 and "N=" not in text
    assert (
        "Timed: WRN-28-10, 32 px, float32; on a card, 2026-11-23, 128 images a step, n = 3."
        in text.replace("\n", " ")
    )
    assert "| ~" not in markdown(tmp_path, "table4", precision="mixed_bfloat16")
    for wrong in ({"that": {"precision": "float32"}}, {"that": {**facts, "batch": 0}}, {"that": 1}):
        (tmp_path / hours.SPEED_FILE).write_text(json.dumps(wrong))
        with pytest.raises(InputError, match="speed.json is damaged"):
            markdown(tmp_path, "table4")


def test_what_there_is_not_is_refused_with_what_there_is():
    with pytest.raises(InputError, match="no experiment table1 here.*table2, table3"):
        reproduction.select(["table1"])
    with pytest.raises(InputError, match="no row 28-11 here.*28-10, 28-12"):
        reproduction.select(["table4"], ["28-11", "28-10"])
    with pytest.raises(InputError, match="no data set svhn here. There are: cifar10, cifar100"):
        reproduction.select(["table4"], [], ["svhn"])
    assert len(reproduction.select(["all"])) == len(ROWS)
    assert [row.folder for row in reproduction.select(["figure3"])] == [
        "table6/16-4-svhn",
        "table6/16-4-dropout-svhn",
        "table6/52-1-svhn",
    ]


def test_scales():
    assert parse_scale("", 1) is None
    small = Scale(0.01, narrow=2).smaller(Recipe(whitening=True))
    assert (small.epochs, small.train_images, small.width) == (20, 5000, 5)
    assert (small.drop_epochs, small.whitening) == ((7, 13, 17), True)
    svhn = Scale(0.01).smaller(row_of("table6", "16-4", "svhn").recipe)
    assert (svhn.extra, svhn.train_images, svhn.drop_epochs) == (False, 7326, (9, 13))
    for row in ROWS:
        if row.recipe:
            digits = Scale().smaller(row.recipe)
            assert digits.dataset == "digits" and digits.width == row.recipe.width
    with pytest.raises(InputError, match="1 or more"):
        parse_scale("digits", 0.5)


def test_on_the_digits_a_table_has_each_run_once():
    rows = reproduction.select(["table6"])
    keys = [row.key for row in reproduction.without_twins(rows, Scale())]
    assert keys.count("16-4") == 2  # of CIFAR's recipe and of SVHN's
    assert keys.count("28-10") == 1
    assert reproduction.without_twins(rows, None) == rows


def test_a_detector_fills_its_row_in_its_own_unit(tmp_path):
    row = row_of("table9", "34-2", "coco")
    assert "| 35.20 mAP | not measured |" in markdown(tmp_path, "table9")
    card = {
        "metrics": {"photos": "held out", "pycocotools": {"mAP": 0.361}},
        "recipe": {"seed": 1, "epochs": 10, **dict(row.settings)},
        "parameters": 34_000_000,
        "hours": 70.0,
        "hardware": "a card",
        "versions": {"backend": "tensorflow"},
    }
    folder = tmp_path / row.folder / "seed1"
    folder.mkdir(parents=True)
    (folder / "card.json").write_text(json.dumps(card))
    assert "| 34,000,000 | 35.20 mAP | 36.10 | 1 | 25200.0 | 70.00 |" in markdown(
        tmp_path, "table9"
    )
    by_heart = {"metrics": {**card["metrics"], "photos": "those it was trained on"}}
    few = {"recipe": {**card["recipe"], "limit": 6}}
    for other, sentence in ((by_heart, "that it was trained on"), (few, "limit is 6 there and 0")):
        (folder / "card.json").write_text(json.dumps(card | other))
        with pytest.raises(InputError, match=f"another experiment than table9.*{sentence}"):
            markdown(tmp_path, "table9")
