from keras_wrn.system import markdown


def test_a_table_has_its_rule():
    text = markdown.table(["a", "b"], [["x", 1]])
    assert text.splitlines() == ["| a | b |", "|---|---|", "| x | 1 |"]
