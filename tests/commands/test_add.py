"""``zoo add``"""


def test_a_run_is_put_on_the_shelf_and_what_to_do_next_is_said(call, home, tiny):
    result = call("add", tiny, "--name", "mine.v1")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"mine.v1 is on your shelf: {home / 'shelf' / 'mine.v1'}\nnext: zoo info mine.v1 --blocks\n"
    assert call("info", "mine").stdout.startswith("mine.v1: convnet fine-tuned on digits\n")


def test_a_name_that_is_taken_is_an_error(call, home, tiny):
    call("add", tiny)
    result = call("add", tiny)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "Error: The shelf has a network 'tiny' already. Choose another name (--name), or remove it: zoo remove tiny\n"
    )


def test_nothing_at_the_path_is_an_error(call, home, tmp_path):
    result = call("add", tmp_path / "none.keras")
    assert result.exit_code == 1
    assert result.stderr == f"Error: There is no network at {tmp_path / 'none.keras'}. Check the path.\n"
    assert not home.exists()
