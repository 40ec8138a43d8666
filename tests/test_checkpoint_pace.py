"""When a checkpoint is due."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.checkpoint_pace import LONGEST, SHARE, SHORTEST, Pace


class Clock:
    """A clock that is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_the_last_one_took_decides_when_the_next_is_due():
    clock = Clock()
    pace = Pace(clock=clock)
    pace.took(1.0)
    pace.begin()
    clock.now = 49.9
    assert not pace.due()
    clock.now = 50.0
    assert pace.due()
    pace.begin()
    assert not pace.due()


@given(st.floats(0, 1e4))
def test_it_costs_two_percent_unless_that_would_lose_more_than_five_minutes(cost):
    pace = Pace(clock=Clock())
    pace.took(cost)
    assert pace.seconds is not None and SHORTEST <= pace.seconds <= LONGEST == 300
    assert cost / pace.seconds <= SHARE * (1 + 1e-9) or pace.seconds == LONGEST


def test_before_anything_was_measured_its_size_decides():
    pace = Pace(clock=Clock())
    pace.expect(200_000_000)
    assert pace.seconds == pytest.approx(100.0)
    pace.took(0.1)
    pace.expect(200_000_000)
    assert pace.seconds == pytest.approx(5.0), "what was measured counts"


def test_what_is_asked_for_holds_up_to_five_minutes_and_0_is_never():
    assert Pace(7.5).seconds == 7.5
    assert Pace(3600).seconds == 300
    never = Pace(0)
    never.took(1e-6)
    assert never.seconds is None and not never.due()
