"""When a schedule is due: cron expressions in time zones, the instants they name, and outputs named after those.

Works on: expressions, IANA time zones and instants. Knows nothing about jobs, stores or what is scheduled.
cronsim parses the expressions and steps from tick to tick. What it takes for "times of day", whose daylight-saving
gaps and repetitions it mends as Debian's cron does, is decided here by the hours that an expression names.
"""

import difflib
import hashlib
import re
import string
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

# Where patterns and expressions are tried out: the same answer today and tomorrow. Not near the end of a month, so
# that the same day of the next one exists.
_TRIAL = datetime(2025, 1, 10)
# Of each kind of repetition that a pattern may fail to tell apart, one: an hour, days, weeks, months, years.
_REPETITIONS = [timedelta(hours=1), *(timedelta(days=days) for days in (1, 7, 28, 31, 59, 364, 365, 371, 730))]
_DIRECTIVES = re.compile("%[aAbBdGHIjmMpuUVwWyYzZ]|[^%]")


def time_zone(name: str) -> ZoneInfo:
    """The IANA time zone of that name. Raises ValueError, a sentence, when there is none."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        close = difflib.get_close_matches(name, available_timezones(), n=1)
        meant = f"did you mean {close[0]}?" if close else "write UTC, or one such as Europe/Berlin"
        raise ValueError(f"{name!r} is no IANA time zone; {meant}") from error


class Cron:
    """A five-field cron expression in a time zone, as a sequence of instants.

    An expression whose hours are all 24 runs by elapsed time: hourly is every hour, whatever the clock is set to.
    Any other names times of day, and each of them comes once a day: one in an hour that is skipped comes at once
    after it, one in an hour that is repeated comes the first time only.
    """

    def __init__(self, expression: str, zone: ZoneInfo) -> None:
        """Raises ValueError, a sentence, when there is no such expression or it never comes."""
        self.zone = zone
        fields = expression.split()
        if len(fields) != 5:
            raise ValueError(
                f"{expression!r} has {len(fields)} fields, not five: minute, hour, day of month, month, day of week"
            )
        try:
            every_hour = CronSim(expression, _TRIAL).hours == set(range(24))
        except CronSimError as error:
            raise ValueError(f"{expression!r} is no cron expression: {str(error).lower()}") from error
        # cronsim mends only expressions of which neither minute nor hour begins with a star.
        if every_hour:
            fields[1] = "*"
        else:
            fields[:2] = [re.sub(r"^\*", full, field) for full, field in zip(("0-59", "0-23"), fields, strict=False)]
        self._expression = " ".join(fields)
        if next(self.after(_TRIAL.replace(tzinfo=UTC)), None) is None:
            raise ValueError(f"{expression!r} never comes")

    def after(self, instant: datetime) -> Iterator[datetime]:
        """Every tick later than `instant`, in UTC, ascending, each once."""
        last = instant
        for local in CronSim(self._expression, instant.astimezone(self.zone)):
            tick = local.astimezone(UTC)
            # Within a repeated hour, cronsim looks from the first time on, whichever it is.
            if tick > last:
                last = tick
                yield tick

    def between(self, instant: datetime, end: datetime) -> Iterator[datetime]:
        """The ticks later than `instant` and not later than `end`."""
        return takewhile(lambda tick: tick <= end, self.after(instant))

    def last(self, instant: datetime) -> datetime | None:
        """The latest tick that is not later than `instant`, within ten years."""
        for hours in (1, 25, 24 * 32, 24 * 400, 24 * 3660):  # few steps for a frequent one, and enough for a rare one
            if latest := deque(self.between(instant - timedelta(hours=hours), instant), maxlen=1):
                return latest[0]
        return None

    def trial_ticks(self) -> list[datetime]:
        """Ticks that show what can go wrong: many in a row, the same time after an hour, a day, a week and so on,
        and those of the day on which the clock is set back."""
        base = next(self.after(_TRIAL.replace(tzinfo=self.zone))).astimezone(self.zone)
        ticks = set(islice(self.after(base - timedelta(minutes=1)), 100))
        for repetition in _REPETITIONS:
            local = base.replace(tzinfo=None) + repetition - timedelta(minutes=1)
            ticks.update(islice(self.after(local.replace(tzinfo=self.zone)), 3))
        for day in (_TRIAL.replace(tzinfo=self.zone) + timedelta(days=days) for days in range(400)):
            next_day = day + timedelta(days=1)
            if (day.utcoffset() or timedelta()) > (next_day.utcoffset() or timedelta()):
                ticks.update(self.between(day, next_day))
                break
        return sorted(ticks)


def tick_id(tick: datetime) -> str:
    """A tick by its minute in UTC, as it stands in keys and submission ids: `20261124T0130Z`."""
    return f"{tick.astimezone(UTC):%Y%m%dT%H%MZ}"


def from_id(text: str) -> datetime:
    """The tick that an id names. Raises ValueError."""
    return datetime.strptime(text, "%Y%m%dT%H%MZ").replace(tzinfo=UTC)


def jitter(schedule: str, tick: datetime, at_most: int) -> timedelta:
    """By how much a tick is put off: 0 to `at_most` whole seconds, the same wherever it is asked."""
    digest = hashlib.sha256(f"{schedule} {tick_id(tick)}".encode()).digest()
    return timedelta(seconds=int.from_bytes(digest[:8]) % (at_most + 1))


def output_for(pattern: str, tick: datetime, cron: Cron) -> str:
    """The output of a tick: `{tick:…}` is its time in its schedule's zone, after strftime."""
    return pattern.format(tick=tick.astimezone(cron.zone))


def check_pattern(pattern: str, cron: Cron) -> None:
    """Raises ValueError, a sentence, unless `pattern` can be filled in and gives each tick an output of its own."""
    try:
        fields = [part[1:] for part in string.Formatter().parse(pattern) if part[1] is not None]
    except ValueError as error:
        raise ValueError(f"{pattern!r} cannot be filled in ({error}); write {{{{ for a brace") from error
    for name, spec, conversion in fields:
        if name != "tick" or not spec or conversion:
            raise ValueError(f"{pattern!r} may hold {{tick:…}} with strftime's letters, e.g. {{tick:%Y-%m-%d}}, only")
        if "".join(_DIRECTIVES.findall(spec)) != spec:
            raise ValueError(f"{pattern!r} has a letter after % that strftime does not have everywhere")
    seen: dict[str, datetime] = {}
    for tick in cron.trial_ticks():
        output = output_for(pattern, tick, cron)
        if output in seen:
            first, second = (f"{when.astimezone(cron.zone):%Y-%m-%d %H:%M %z}" for when in (seen[output], tick))
            raise ValueError(
                f"gives the ticks {first} and {second} one output, {output}; name more of the time in it, "
                "e.g. {tick:%Y-%m-%dT%H%M%z}"
            )
        seen[output] = tick


def check_jitter(at_most: int, cron: Cron) -> None:
    """Raises ValueError, a sentence, when jitter could make two ticks change places."""
    ticks = cron.trial_ticks()
    shortest = min((later - tick).total_seconds() for tick, later in pairwise(ticks))
    if at_most >= shortest:
        raise ValueError(f"must be less than the {shortest:.0f} seconds between two ticks, not {at_most}")
