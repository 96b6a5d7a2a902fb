"""Cron expressions in time zones: which instants they name, above all where clocks are changed."""

from datetime import UTC, date, datetime, timedelta
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.ticks import Cron, check_jitter, check_pattern, from_id, jitter, output_for, tick_id, time_zone


def cron(expression: str, zone: str = "UTC") -> Cron:
    return Cron(expression, time_zone(zone))


def on(day: date, expression: str, zone: str) -> list[str]:
    """The ticks of one local day, by the clock on the wall."""
    local = time_zone(zone)
    start = datetime(day.year, day.month, day.day, tzinfo=local)
    ticks = cron(expression, zone).between(start - timedelta(seconds=1), start + timedelta(days=1, seconds=-1))
    return [f"{tick.astimezone(local):%H:%M%z}" for tick in ticks]


# In Berlin 02:00 becomes 03:00 on the first of these days, and 03:00 becomes 02:00 on the second.
FORWARD, BACK = date(2026, 3, 29), date(2026, 10, 25)


@pytest.mark.parametrize(
    ("expression", "forward", "back"),
    [
        ("30 2 * * *", ["03:00+0200"], ["02:30+0200"]),
        ("30 1 * * *", ["01:30+0100"], ["01:30+0200"]),
        ("*/20 2 * * *", ["03:00+0200"], ["02:00+0200", "02:20+0200", "02:40+0200"]),
        ("0,30 2,3 * * *", ["03:00+0200", "03:30+0200"], ["02:00+0200", "02:30+0200", "03:00+0100", "03:30+0100"]),
        ("0 2-4/2 * * *", ["03:00+0200", "04:00+0200"], ["02:00+0200", "04:00+0100"]),
        ("0 */12 29 3 *", ["00:00+0100", "12:00+0200"], []),
    ],
)
def test_a_time_of_day_comes_once_whatever_the_clock_does(expression: str, forward: list[str], back: list[str]) -> None:
    assert on(FORWARD, expression, "Europe/Berlin") == forward
    assert on(BACK, expression, "Europe/Berlin") == back


@pytest.mark.parametrize("expression", ["0 * * * *", "0 0-23 * * *", "0 */1 * * *"])
@pytest.mark.parametrize("day", [FORWARD, BACK])
def test_hourly_is_every_hour(expression: str, day: date) -> None:
    start = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=4, minutes=1)
    ticks = list(islice(cron(expression, "Europe/Berlin").after(start), 48))
    assert ticks == [start + timedelta(hours=hours, minutes=1) for hours in range(48)]


def test_a_clock_changed_at_midnight_loses_no_day() -> None:
    """In Cairo, Thursday ends at midnight and Friday begins at 01:00."""
    assert on(date(2026, 4, 24), "0 0 * * *", "Africa/Cairo") == ["01:00+0300"]
    assert on(date(2026, 4, 24), "30 0 * * 5", "Africa/Cairo") == ["01:00+0300"]
    assert len(on(date(2026, 4, 24), "0 * * * 5", "Africa/Cairo")) == 23


def test_a_day_that_a_zone_left_out() -> None:
    """Samoa went from 29 to 31 December 2011: the 30th's tick comes at once, the 31st's in its turn."""
    ticks = islice(cron("0 9 * * *", "Pacific/Apia").after(datetime(2011, 12, 29, tzinfo=UTC)), 4)
    local = [f"{tick.astimezone(time_zone('Pacific/Apia')):%d %H:%M}" for tick in ticks]
    assert local == ["29 09:00", "31 00:00", "31 09:00", "01 09:00"]


ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Cairo",
    "America/Havana",
    "Asia/Tokyo",
)
TIMES_OF_DAY = ("30 1,2 * * *", "*/15 0-3 * * *", "0 0 * * *")
EXPRESSIONS = (*TIMES_OF_DAY, "*/7 * * * *", "0 * * * *", "15 0 * * 1-5", "0 2 1,15 * *", "59 23 * * 0")


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(ZONES),
    st.sampled_from(EXPRESSIONS),
    st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 1)),
    st.integers(0, 5_000),
)
def test_it_does_not_matter_where_one_begins_to_look(zone: str, expression: str, start: datetime, minutes: int) -> None:
    """As a scheduler does that is restarted: the ticks after an instant are those that come after it anyway."""
    of = cron(expression, zone)
    begin, later = start.replace(tzinfo=UTC), start.replace(tzinfo=UTC) + timedelta(minutes=minutes)
    ticks = list(of.between(begin, later + timedelta(days=3)))
    assert ticks == sorted(set(ticks))
    assert list(of.between(later, later + timedelta(days=3))) == [tick for tick in ticks if tick > later]
    assert of.last(later) == max((tick for tick in ticks if tick <= later), default=of.last(begin))


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(ZONES), st.sampled_from(TIMES_OF_DAY), st.integers(0, 364))
def test_every_time_of_day_comes_as_often_as_days(zone: str, expression: str, day: int) -> None:
    """Counted against the wall clock, minute by minute: what the clock shows twice counts once, what it never shows
    is made up for by one tick right after the gap."""
    local = time_zone(zone)
    start = datetime(2026, 1, 1, 12, tzinfo=UTC) + timedelta(days=day)
    named = {tick.strftime("%H:%M") for tick in cron(expression).between(start, start + timedelta(days=1))}
    expected = set()
    for minute in range(1, 48 * 60 + 1):
        now = start + timedelta(minutes=minute)
        wall, before = (
            when.astimezone(local).replace(tzinfo=None, fold=0) for when in (now, now - timedelta(minutes=1))
        )
        shown = [before + timedelta(minutes=step) for step in range(1, (wall - before) // timedelta(minutes=1) + 1)]
        first_time = now.astimezone(local).fold == 0
        if first_time and any(f"{time:%H:%M}" in named for time in shown):
            expected.add(now)
    assert set(cron(expression, zone).between(start, start + timedelta(days=2))) == expected


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("61 * * * *", "'61 * * * *' is no cron expression: bad minute"),
        ("@daily", "'@daily' has 1 fields, not five: minute, hour, day of month, month, day of week"),
        ("0 0 * * * *", "has 6 fields, not five"),
        ("0 0 31 2 *", "bad day-of-month"),
        ("* * */20 * 1L", "never comes"),
        ("0 0 * * fools", "bad day-of-week"),
    ],
)
def test_an_expression_that_is_none(expression: str, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("*", r"\*")):
        cron(expression)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Europe/Berln", "did you mean Europe/Berlin?"),
        ("../etc/passwd", "is no IANA time zone"),
        ("Europe", "is no IANA time zone"),
        ("/etc/passwd", "is no IANA time zone"),
    ],
)
def test_a_time_zone_that_is_none(name: str, said: str) -> None:
    with pytest.raises(ValueError, match="no IANA time zone") as caught:
        time_zone(name)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("expression", "zone", "pattern", "said"),
    [
        ("30 2 * * *", "UTC", "o", "2025-01-10 02:30 +0000 and 2025-01-11 02:30 +0000 one output, o;"),
        ("0 * * * *", "UTC", "o/{tick:%Y-%m-%d}", "one output"),
        ("30 2 * * *", "UTC", "o/{tick:%m-%d}", "2026-01-10 02:30 +0000 one output, o/01-10;"),
        ("* * * * *", "UTC", "o/{tick:%Y-%dT%H%M}", "2025-01-10 00:01 +0000 and 2025-02-10 00:01 +0000"),
        ("0 0 1 1 *", "UTC", "{tick:%B}", "one output, January"),
        ("0 * * * *", "Europe/Berlin", "o/{tick:%Y-%m-%dT%H}", "2025-10-26 02:00 +0200 and 2025-10-26 02:00 +0100"),
        ("0 3 * * *", "UTC", "o/{tick}", "may hold {tick:…} with strftime's letters"),
        ("0 3 * * *", "UTC", "o/{name:%Y}", "may hold {tick:…} with strftime's letters"),
        ("0 3 * * *", "UTC", "o/{tick.__class__:%Y}", "may hold {tick:…} with strftime's letters"),
        ("0 3 * * *", "UTC", "o/{tick!r:%Y}", "may hold {tick:…} with strftime's letters"),
        ("0 3 * * *", "UTC", "o/{tick:%Y-%Q}", "a letter after % that strftime does not have"),
        ("0 3 * * *", "UTC", "o/{tick:%Y", "cannot be filled in ("),
    ],
)  # fmt: skip
def test_a_pattern_that_would_mix_two_ticks_outputs(expression: str, zone: str, pattern: str, said: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        check_pattern(pattern, cron(expression, zone))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("expression", "zone", "pattern", "output"),
    [
        ("30 2 * * *", "Asia/Tokyo", "s3://shop/{tick:%Y-%m-%d}", "s3://shop/2026-11-24"),
        ("30 2 * * *", "UTC", "o/{tick:%Y-%j}", "o/2026-327"),
        ("0 * * * *", "Europe/Berlin", "o/{tick:%Y-%m-%dT%H%z}", "o/2026-11-23T18+0100"),
        ("0 3 * * 1", "UTC", "o/{tick:%G-W%V}/{{x}}", "o/2026-W48/{x}"),
        ("0 3 1 * *", "UTC", "o/{tick:%Y-%m}", "o/2026-11"),
        ("0 0 29 2 *", "UTC", "o/{tick:%Y}", "o/2026"),
        ("* * * * *", "America/New_York", "o/{tick:%Y-%m-%d/%H:%M %z}", "o/2026-11-23/12:30 -0500"),
    ],
)
def test_an_output_is_named_after_the_ticks_own_time(expression: str, zone: str, pattern: str, output: str) -> None:
    of = cron(expression, zone)
    check_pattern(pattern, of)
    assert output_for(pattern, datetime(2026, 11, 23, 17, 30, tzinfo=UTC), of) == output


def test_jitter_is_the_ticks_own() -> None:
    ticks = list(islice(cron("*/5 * * * *").after(datetime(2026, 1, 1, tzinfo=UTC)), 500))
    put_off = [jitter("nightly", tick, 120) for tick in ticks]
    assert put_off == [jitter("nightly", tick, 120) for tick in ticks]
    assert {timedelta(0), timedelta(seconds=120)} <= set(put_off)
    assert all(timedelta(0) <= one <= timedelta(seconds=120) and not one.microseconds for one in put_off)
    assert len(set(put_off)) > 100
    assert put_off != [jitter("hourly", tick, 120) for tick in ticks]
    assert {jitter("nightly", tick, 0) for tick in ticks} == {timedelta(0)}


def test_jitter_may_not_make_ticks_change_places() -> None:
    check_jitter(299, cron("*/5 * * * *"))
    for expression, seconds in (("*/5 * * * *", 300), ("0,59 3 * * *", 3540), ("59 23 * * *", 86_400)):
        with pytest.raises(ValueError, match=f"less than the {seconds} seconds between two ticks, not 99999"):
            check_jitter(99_999, cron(expression))


def test_an_id_is_the_tick() -> None:
    tick = datetime(2026, 11, 24, 2, 30, tzinfo=time_zone("Europe/Berlin"))
    assert tick_id(tick) == "20261124T0130Z"
    assert from_id("20261124T0130Z") == tick
