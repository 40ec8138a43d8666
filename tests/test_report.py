"""The report of a run: complete, self-contained, escaped, and whole or not there."""

import base64
import io
import json
import os
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from zoo.data.dataset import Target
from zoo.errors import DataError, RunError
from zoo.metrics import measure
from zoo.report import write_report
from zoo.report_charts import Curve, curves, fit, heat_map, ticks

HEADER = "stage,epoch,loss,accuracy,val_loss,val_accuracy,learning_rate,seconds\n"
VOID = {"meta", "br", "img"}


class Page(HTMLParser):
    """Parses a page, and holds that its elements are closed in order."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def figures(names=("cat", "dog"), examples=("a.png", "b.png", "c.png", "d.png")) -> dict:
    target = Target("classes", tuple(names), np.array([0, 1, 1, 0]))
    outputs = np.array([[0.9, 0.1], [0.2, 0.8], [0.75, 0.25], [0.6, 0.4]])
    return measure(target, target.values, outputs, names=examples)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    run = tmp_path / "run1"
    run.mkdir()
    (run / "recipe.toml").write_text('[model]\nname = "glyphs"\n[data]\npath = "digits"\n', encoding="utf-8")
    (run / "recipe.lock").write_text('[versions]\nkeras = "3.15.0"\n', encoding="utf-8")
    (run / "plan.txt").write_text("block1  frozen\ntop     trained\n", encoding="utf-8")
    rows = "head,1,2.0,0.3,2.1,0.2,0.01,1\nhead,2,1.0,0.6,1.2,0.5,0.01,1\nfine-tune,1,0.5,0.9,0.9,0.7,0.001,3\n"
    (run / "history.csv").write_text(HEADER + rows, encoding="utf-8")
    stages = [{"name": "head", "epochs": 2, "seconds": 2.5}, {"name": "fine-tune", "epochs": 1, "seconds": 3700.0}]
    metrics = {"test": figures(), "val": figures(), "stages": stages, "seconds": 75.2}
    (run / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    return run


def page_of(folder: Path, **options) -> tuple[str, Page]:
    path = write_report(folder, **options)
    assert path == folder / "report.html"
    text = path.read_text(encoding="utf-8")
    return text, Page(text)


def test_a_full_run_is_reported(folder):
    text, page = page_of(folder)
    words = " ".join(page.text)
    for expected in (
        "glyphs on digits",
        "run1",
        "75.0 %",
        "95 % interval 30.1 % to 95.4 %",
        "accuracy on 4 test examples",
    ):
        assert expected in words
    for expected in ("1 min 15 s", "1 h 1 min", "2.5 s", "block1  frozen", 'name = "glyphs"', 'keras = "3.15.0"'):
        assert expected in words
    assert "missing" not in words
    assert page.count("svg") == 3
    assert page.count("polyline") == 4
    assert page.count("details") == 1
    assert 'style="--part:0.667">0.667</td>' in text  # a cat's precision: 2 of 3
    assert "true dog, predicted cat: 1" in text
    assert "75.0 % sure, 25.0 % for the true class" in words


def test_it_needs_nothing_from_outside_and_no_script(folder):
    text, page = page_of(folder, thumbnails={"c.png": np.zeros((8, 8), np.uint8)})
    assert page.count("script") == page.count("link") == page.count("a") == page.count("iframe") == 0
    assert not re.search(r"(?:https?:)?//|url\(|@import", text)
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), tag
        assert attributes.get("src", "data:image/png;base64,").startswith("data:image/png;base64,")


def test_light_dark_and_print_have_their_colours(folder):
    text, _ = page_of(folder)
    assert "prefers-color-scheme: dark" in text and "@media print" in text
    styled = text[: text.index("</style>")]
    assert set(re.findall(r"var\((--\w+)\)", text)) - {"--part"} <= set(re.findall(r"(--\w+):", styled))


def test_the_same_folder_gives_the_same_bytes(folder):
    assert write_report(folder).read_bytes() == write_report(folder).read_bytes()


@pytest.mark.parametrize("name", ["recipe.toml", "recipe.lock", "plan.txt", "history.csv", "metrics.json"])
def test_a_missing_file_is_named_and_the_rest_is_there(folder, name):
    (folder / name).unlink()
    text, _ = page_of(folder)
    assert f"{name} is missing from the run folder." in text
    for other, content in (("plan.txt", "block1  frozen"), ("metrics.json", "75.0 %"), ("history.csv", "<polyline")):
        assert (content in text) == (name != other)


def test_an_empty_folder_gives_a_page(tmp_path):
    text, page = page_of(tmp_path)
    assert text.count("is missing from the run folder.") == 8
    assert f"<title>{tmp_path.name}</title>" in text
    assert page.count("section") == 8


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("metrics.json", b"{", "metrics.json is not JSON: Expecting property name"),
        ("metrics.json", b"[]", "metrics.json does not hold a table of figures."),
        ("metrics.json", b"{}", "metrics.json holds no figures for test or validation examples."),
        ("metrics.json", b'{"test": null, "val": {"examples": 0}}', "metrics.json holds no figures"),
        ("history.csv", b"", "history.csv holds no epochs."),
        ("plan.txt", b"\xff", "plan.txt cannot be read: "),
        ("history.csv", HEADER.encode() + b"x" * 200_000, "history.csv cannot be read: field larger than field limit"),
    ],
)
def test_an_unreadable_file_is_named(folder, name, content, said):
    (folder / name).write_bytes(content)
    assert said in page_of(folder)[0]


@pytest.mark.parametrize("recipe", ["[", "model = 3", "[model]\n"])
def test_without_a_readable_recipe_the_folder_is_the_title(folder, recipe):
    (folder / "recipe.toml").write_text(recipe)
    assert "<title>run1</title>" in page_of(folder)[0]


def test_validation_stands_in_for_a_missing_test(folder):
    (folder / "metrics.json").write_text(json.dumps({"val": figures()}))
    words = " ".join(page_of(folder)[1].text)
    assert "accuracy on 4 validation examples" in words
    assert "accuracy, validation" not in words


def test_everything_is_escaped(folder):
    evil = '<script>alert("&")</script>'
    metrics = {"test": figures((evil, "dog"), [evil] * 4), "stages": [{"name": evil, "epochs": 3, "seconds": 1}]}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "recipe.toml").write_text(f"[model]\nname = '{evil}'\n[data]\npath = '{evil}'\n")
    for name in ("plan.txt", "recipe.lock"):
        (folder / name).write_text(evil)
    head = "stage,epoch,loss,<script>x,learning_rate,seconds\n"
    (folder / "history.csv").write_text(head + "<script>y,1,1,1,1,1\n" * 3)
    for thumbnails in (None, {evil: np.zeros((2, 2), np.uint8)}):
        text, page = page_of(folder, thumbnails=thumbnails)
        assert "<script" not in text
        assert evil in "".join(page.text)


def test_names_that_are_not_text_are_shown_all_the_same(folder):
    metrics = {"test": figures(("caf\udce9", "dog"), ["a\x00b", "b", "c\u202ed", "d"])}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    text, _ = page_of(folder)
    assert "caf�" in text and "c�d" in text
    assert "\x00" not in text and "\u202e" not in text


def test_regression_is_reported(folder):
    target = Target("numbers", ("age", "height"), np.array([[1, 10], [2, 20], [3, 40]], np.float32))
    m = measure(target, target.values, target.values + np.array([[0, 3], [0, 0], [0.5, 0]]), names=["r0", "r1", "r2"])
    (folder / "metrics.json").write_text(json.dumps({"test": m, "val": m}))
    history = "stage,epoch,loss,mae,val_loss,val_mae,learning_rate,seconds\nhead,1,1,0.5,,,1,1\nhead,2,nan,0.2,,,1,1\n"
    (folder / "history.csv").write_text(history)
    text, page = page_of(folder)
    words = " ".join(page.text)
    for expected in ("RMSE on 3 test examples", "R²", "height", "age: off by +0.5, 0.61 standard deviations"):
        assert expected in words
    assert "Confusion matrix" not in words
    assert "validation</span>" not in text
    assert page.count("svg") == page.count("polyline") == 2


def test_labels_are_reported(folder):
    target = Target("labels", ("cat", "dog"), np.array([[1, 0], [1, 1]], np.float32))
    m = measure(target, target.values, np.array([[0.9, 0.1], [0.2, 0.3]]), names=["a", "b"])
    (folder / "metrics.json").write_text(json.dumps({"test": m}))
    text, page = page_of(folder)
    assert "exact match on 2 test examples" in " ".join(page.text)
    assert '<td class="">b</td><td class="">cat, dog</td><td class="">none</td>' in text
    assert '<td class="num">–</td>' in text  # a dog is never predicted: no precision, no bar


def test_no_mistakes_are_said_so(folder):
    m = figures() | {"worst": []}
    (folder / "metrics.json").write_text(json.dumps({"test": m}))
    assert '<h2>Worst mistakes</h2><p class="note">None.</p>' in page_of(folder)[0]


# Thumbnails


def pictures(text: str) -> list[np.ndarray]:
    found = re.findall(r"base64,([^\"]+)", text)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in found]


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (8, 6, 3), (5, 8, 4)])
def test_tiny_thumbnails_are_kept_and_shown_with_sharp_pixels(folder, shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    text, page = page_of(folder, thumbnails={"c.png": image})
    (shown,) = pictures(text)
    assert np.array_equal(shown, image[..., 0] if shape[2:] == (1,) else image)
    (attributes,) = [a for tag, a in page.tags if tag == "img"]
    assert attributes["class"] == "tiny" and attributes["alt"] == "c.png"
    assert "image-rendering: pixelated" in text


def test_a_mistake_without_a_picture_has_a_blank_among_the_others(folder):
    target = Target("classes", ("cat", "dog"), np.array([0, 0]))
    m = measure(target, target.values, np.array([[0.1, 0.9], [0.2, 0.8]]), names=["a", "b"])
    (folder / "metrics.json").write_text(json.dumps({"test": m}))
    text, page = page_of(folder, thumbnails={"b": np.zeros((8, 8), np.uint8)})
    assert page.count("img") == 1 and text.count('<div class="blank">') == 1
    assert text.index('<div class="blank">') < text.index("<img")


def test_large_thumbnails_are_reduced(folder):
    text, page = page_of(folder, thumbnails={"c.png": np.zeros((400, 1000, 3), np.uint8)})
    assert [x.shape for x in pictures(text)] == [(77, 192, 3)]
    assert [a["class"] for tag, a in page.tags if tag == "img"] == [""]


@pytest.mark.parametrize("image", [np.zeros((8, 8)), np.zeros(8, np.uint8), np.zeros((8, 8, 2), np.uint8)])
def test_what_is_no_image_is_refused_and_nothing_is_written(folder, image):
    with pytest.raises(DataError) as caught:
        write_report(folder, thumbnails={"c.png": image})
    assert str(caught.value) == (
        "The thumbnail of 'c.png' is not an image. Expected uint8 (h, w) or (h, w, 1, 3 or 4 channels); "
        f"received {image.dtype} {image.shape}."
    )
    assert not (folder / "report.html").exists()


# Writing


def test_no_folder(tmp_path):
    with pytest.raises(RunError) as caught:
        write_report(tmp_path / "none")
    assert str(caught.value) == (
        f"There is no run folder {tmp_path / 'none'}. Name the folder that --out named when the run was made."
    )


def test_a_failed_write_leaves_the_old_report_and_no_litter(folder, monkeypatch):
    (folder / "report.html").write_text("old")
    before = sorted(folder.iterdir())

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError) as caught:
        write_report(folder)
    assert str(caught.value) == (
        f"The report {folder / 'report.html'} cannot be written: No space left on device. "
        "Check the folder's permissions and the space on its disk."
    )
    assert (folder / "report.html").read_text() == "old"
    assert sorted(folder.iterdir()) == before


def test_the_report_is_on_disk_before_it_has_its_name(folder, monkeypatch):
    events, sync, rename = [], os.fsync, Path.replace

    def watch_sync(descriptor):
        events.append(os.fstat(descriptor).st_size)
        sync(descriptor)

    def watch_rename(self, target):
        events.append((self.parent, self.stat().st_size))
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", watch_sync)
    monkeypatch.setattr(Path, "replace", watch_rename)
    size = write_report(folder).stat().st_size
    assert events == [size, (folder, size)]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_the_report_is_as_readable_as_other_files(folder):
    assert write_report(folder).stat().st_mode == (folder / "plan.txt").stat().st_mode


# Charts


def points(svg: str) -> list[list[tuple[float, float]]]:
    return [[tuple(map(float, p.split(","))) for p in run.split()] for run in re.findall(r'points="([^"]+)"', svg)]


def test_curves_rise_with_their_values_and_stay_inside():
    svg = curves("loss", [Curve("train", [0.0, 1.0, 0.5])], [("head", 3)])
    ((a, b, c),) = points(svg)
    assert a[0] < b[0] < c[0] and b[0] - a[0] == pytest.approx(c[0] - b[0], abs=0.11)
    assert a[1] == 216 and b[1] == 30 and c[1] == 123  # the bottom, the top, the middle between them


def test_gaps_break_a_curve():
    svg = curves("loss", [Curve("val", [1.0, 2.0, None, None, 3.0])], [("head", 5)])
    assert [len(run) for run in points(svg)] == [2, 1]
    assert svg.count("<circle") == 3


def test_stages_are_marked_where_they_begin():
    svg = curves("loss", [Curve("train", [4.0, 3.0, 2.0, 1.0])], [("head", 1), ("fine-tune", 3)])
    ((a, b, *_),) = points(svg)
    (mark,) = re.findall(r'class="stage" x1="([\d.]+)"', svg)
    assert float(mark) == pytest.approx((a[0] + b[0]) / 2, abs=0.11)
    assert ">head</text>" in svg and ">fine-tune</text>" in svg


def test_nothing_measured_draws_an_empty_chart():
    Page(curves("loss", [], []))


@given(st.floats(-1e99, 1e99), st.floats(-1e99, 1e99))
@example(0.0, 5e-324)
def test_ticks_enclose_their_interval_and_are_few(a, b):
    low, high = min(a, b), max(a, b)
    marks = ticks(low, high)
    slack = 1e-6 * max(abs(low), abs(high))
    assert marks[0] <= low + slack and high - slack <= marks[-1]
    assert 2 <= len(marks) <= 9 and marks == sorted(set(marks))


def test_a_heat_map_has_a_cell_for_every_count_that_occurs():
    svg = heat_map([[8, 0, 2], [0, 0, 0], [0, 5, 5]], ["a", "b", "c"])
    assert re.findall(r"<title>([^<]+)", svg) == [
        "true a, predicted a: 8",
        "true a, predicted c: 2",
        "true c, predicted b: 5",
        "true c, predicted c: 5",
    ]
    kinds = re.findall(r'<rect class="(hit|miss)".*?fill-opacity="([\d.]+)"', svg)
    assert kinds == [("hit", "0.91"), ("miss", "0.53"), ("miss", "0.75"), ("hit", "0.75")]


@pytest.mark.parametrize("k", [1, 2, 30, 60, 100])
def test_a_heat_map_is_never_wider_than_a_page(k):
    svg = heat_map(np.eye(k, dtype=int).tolist(), [f"class number {i}" for i in range(k)])
    Page(svg)
    assert svg.count("<title>") == k
    assert int(re.findall(r"max-width:(\d+)px", svg)[0]) <= 820


def test_too_many_classes_are_listed_and_not_drawn(folder):
    assert heat_map([[0] * 101] * 101, ["x"] * 101) == ""
    target = Target("classes", tuple(f"c{i}" for i in range(101)), np.array([7]))
    m = measure(target, target.values, np.eye(101)[[3]], names=["a"])
    (folder / "metrics.json").write_text(json.dumps({"test": m}))
    text, page = page_of(folder)
    assert page.count("svg") == 2
    assert '<td class="">c7</td><td class="">c3</td><td class="num">1</td>' in text


def test_labels_are_shortened_by_columns():
    assert fit("고양이", 6) == "고양이"
    assert fit("고양이", 5) == "고양…"
