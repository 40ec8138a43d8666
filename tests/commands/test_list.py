"""``zoo list``"""

import json

from zoo import registry


def test_shipped_networks_the_users_and_architectures_are_listed(call, home, tiny):
    registry.add(registry.Path(tiny), "mine.v1")
    result = call("list")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["name", "where", "task", "input", "size", "what", "it", "is"]
    rows = {line.split()[0]: line for line in lines[1:]}
    assert "your shelf" in rows["mine.v1"]
    assert "8x8x1" in rows["mine.v1"]
    assert "architecture" in rows["dnn"]
    assert " any " in rows["dnn"]
    assert list(rows)[-2:] == ["convnet", "dnn"]


def test_json_is_all_of_standard_output(call, home, tiny):
    registry.add(registry.Path(tiny), "mine.v1")
    result = call("list", "--json")
    assert result.stderr == ""
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert rows["mine.v1"]["where"] == "your shelf"
    assert rows["mine.v1"]["bytes"] == (registry.Path(tiny) / "model.keras").stat().st_size
    assert rows["dnn"] == {
        "name": "dnn",
        "where": "architecture",
        "task": "classification",
        "input": "any",
        "bytes": None,
        "parameters": None,
        "summary": rows["dnn"]["summary"],
    }


def test_a_pattern_keeps_names_that_contain_or_match_it(call, home):
    def names(*pattern):
        return [row["name"] for row in json.loads(call("list", *pattern, "--json").stdout)]

    assert names("conv") == ["convnet"]
    assert names("*n?t") == ["convnet"]
    assert names("[d]nn") == ["dnn"]
    assert names("n") == [name for name in names() if "n" in name]


def test_no_match_is_said_and_is_no_error(call, home):
    result = call("list", "zzz")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "no network matches 'zzz'\n")
    assert call("list", "zzz", "--json").stdout == "[]\n"


def test_a_broken_card_on_the_shelf_is_a_row_and_its_reason_is_said(call, home):
    (home / "shelf" / "x").mkdir(parents=True)
    (home / "shelf" / "x" / "card.toml").write_text("schema = 1", encoding="utf-8")
    result = call("list")
    assert result.exit_code == 0
    rows = {line.split()[0]: line for line in result.stdout.splitlines()[1:]}
    assert {"convnet", "dnn", "glyphs.v1", "x"} <= rows.keys()
    assert rows["x"].endswith("broken: its card cannot be read; zoo remove x")
    assert result.stderr == (
        f"The card of 'x' on your shelf cannot be used. {home / 'shelf' / 'x' / 'card.toml'}: the key 'name' is "
        "missing. Expected a string. Add it: name = ... Mend it, or remove it: zoo remove x.\n"
    )
    listed = json.loads(call("list", "x*", "--json").stdout)
    assert [(row["name"], row["task"]) for row in listed] == [("x", "broken")]
    assert call("list", "dnn").stderr == "", "its name does not match"


def test_a_broken_card_disables_no_other_command(call, home, tiny):
    (home / "shelf" / "x").mkdir(parents=True)
    (home / "shelf" / "x" / "card.toml").write_text("schema = 1", encoding="utf-8")
    assert call("info", "glyphs").exit_code == 0
    assert call("add", tiny, "--name", "mine").exit_code == 0
    refused = call("info", "x")
    assert refused.exit_code == 1
    assert refused.stderr.endswith("Mend it, or remove it: zoo remove x.\n")
    assert call("remove", "x").stdout == "removed x\n"
    assert call("list").stderr == ""
