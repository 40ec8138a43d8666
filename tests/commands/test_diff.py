"""``zoo diff``"""

import json
import shutil


def test_a_run_and_itself_are_the_same(call, tiny):
    result = call("diff", tiny, tiny)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "the two runs are the same: recipe, lock and results\n"


def test_what_differs_is_a_table_or_json_with_exit_code_0(call, tiny, tmp_path):
    shutil.copytree(tiny, tmp_path / "copy")
    text = (tmp_path / "copy" / "recipe.toml").read_text()
    (tmp_path / "copy" / "recipe.toml").write_text(text.replace("seed = 0", "seed = 3"))
    result = call("diff", tiny, tmp_path / "copy")
    assert result.exit_code == 0
    header, row = result.stdout.splitlines()
    assert header.split() == ["recipe", tiny, str(tmp_path / "copy")]
    assert row.split() == ["seed", "0", "3"]
    found = json.loads(call("diff", tiny, tmp_path / "copy", "--json").stdout)
    assert found["differences"] == [{"part": "recipe", "key": "seed", "left": 0, "right": 3}]


def test_what_is_no_run_is_explained(call, tiny, tmp_path):
    result = call("diff", tiny, tmp_path)
    assert result.exit_code == 1
    assert f"{tmp_path} is not a run folder. Expected a folder that zoo finetune wrote (its --out)" in result.stderr


def test_one_run_is_wrong_usage(call, tiny):
    assert call("diff", tiny).exit_code == 2
