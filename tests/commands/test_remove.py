"""``zoo remove``"""


def test_what_was_added_is_removed(call, home, tiny):
    call("add", tiny, "--name", "mine.v1")
    result = call("remove", "mine")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "removed mine.v1\n", "")
    assert call("info", "mine").exit_code == 1


def test_what_comes_with_zoo_stays(call, home):
    result = call("remove", "dnn")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: 'dnn' is not on your shelf: it is part of zoo. On your shelf: nothing.\n"


def test_a_run_folder_stays(call, home, tiny, tiny_run):
    assert call("remove", tiny).exit_code == 1
    assert (tiny_run.folder / "model.keras").exists()
