"""The chapter's page: complete, alike in both languages, and true about what there is."""

import pytest

from tests.docs.pages import (
    DOCS,
    command_faults,
    exists,
    formulas,
    inline_code,
    sections,
    status_table,
    without_comments,
)
from zoo.commands import zoo as root

CHAPTER = [  # label, level: every heading of the chapter, in its order
    ("vanishing-gradients", 2),
    ("initialization", 3),
    ("activations", 3),
    ("batch-normalization", 3),
    ("implementing-batch-normalization", 4),
    ("gradient-clipping", 3),
    ("reusing", 2),
    ("reusing-tensorflow", 3),
    ("reusing-other-frameworks", 3),
    ("freezing", 3),
    ("caching", 3),
    ("upper-layers", 3),
    ("model-zoos", 3),
    ("unsupervised-pretraining", 3),
    ("auxiliary-pretraining", 3),
    ("optimizers", 2),
    ("momentum", 3),
    ("nesterov", 3),
    ("adagrad", 3),
    ("rmsprop", 3),
    ("adam", 3),
    ("schedules", 3),
    ("overfitting", 2),
    ("early-stopping", 3),
    ("l1-l2", 3),
    ("dropout", 3),
    ("max-norm", 3),
    ("augmentation", 3),
    ("guidelines", 2),
]
ENGLISH = (DOCS / "chapter.md").read_text(encoding="utf-8")
KOREAN = (DOCS / "chapter.ko.md").read_text(encoding="utf-8")
BOTH = pytest.mark.parametrize("text", [ENGLISH, KOREAN], ids=["english", "korean"])


@BOTH
def test_it_has_every_heading_of_the_chapter_in_order(text):
    title, *found = sections(text)
    assert (title.label, title.level) == ("chapter", 1)
    assert [(s.label, s.level) for s in found] == CHAPTER


@BOTH
def test_no_heading_escapes_the_label_that_the_tests_go_by(text):
    prose = "".join(part for i, part in enumerate(text.split("```")) if i % 2 == 0)
    headings = [line for line in prose.splitlines() if line.startswith("#")]
    assert len(headings) == len(CHAPTER) + 1


def test_both_languages_make_the_same_calls():
    for english, korean in zip(sections(ENGLISH), sections(KOREAN), strict=True):
        ours, theirs = ([(b.language, without_comments(b.code)) for b in s.blocks] for s in (english, korean))
        assert ours == theirs, english.label


def test_both_languages_show_the_same_formulas():
    for english, korean in zip(sections(ENGLISH), sections(KOREAN), strict=True):
        assert formulas(english.body) == formulas(korean.body), english.label


@BOTH
def test_every_heading_says_what_serves_it_today_or_that_it_is_planned(text):
    for section in sections(text)[1:]:
        today, planned = section.says("Today", "지금"), section.says("Not yet", "아직")
        assert today or planned, section.label
        assert today == bool(section.blocks), f"{section.label}: a call belongs to what is there today"


@BOTH
def test_the_table_agrees_with_the_sections(text):
    rows = status_table(text)
    assert [label for label, _, _ in rows] == [label for label, _ in CHAPTER]
    for (label, today, planned), section in zip(rows, sections(text)[1:], strict=True):
        assert bool(today) == section.says("Today", "지금"), label
        assert bool(planned) == section.says("Not yet", "아직"), label


def test_both_languages_are_at_the_same_point():
    for english, korean in zip(sections(ENGLISH), sections(KOREAN), strict=True):
        assert english.says("Today") == korean.says("지금"), english.label
        assert english.says("Not yet") == korean.says("아직"), english.label


@BOTH
def test_every_name_in_the_table_exists_today(text):
    cells = [code for _, today, _ in status_table(text) for code in inline_code(today)]
    names = [code.split("(")[0] for code in cells if code.startswith("zoo.")]
    assert len(names) >= 4
    assert [name for name in names if not exists(name)] == []
    lines = [["zoo", "finetune", *code.split()] for code in cells if code.startswith("--")]
    lines += [code.split() for code in cells if code.startswith("zoo ")]
    assert len(lines) >= 15
    assert [fault for words in lines for fault in command_faults(words, root)] == []
