"""A schedule: what is to be converted when, checked before anything runs.

Works on: the section `schedules` of the configuration. Knows nothing about stores, clusters or what ran before.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cluster.config import Config, ScheduleSettings
from cluster.errors import RequestError
from cluster.store import canonical
from jobs.schedule_state import Submission, Success
from jobs.ticks import Cron, check_jitter, check_pattern, jitter, output_for, tick_id, time_zone


@dataclass(frozen=True)
class Schedule:
    """A schedule that was checked."""

    name: str
    settings: ScheduleSettings
    cron: Cron

    def due(self, tick: datetime) -> datetime:
        """When to submit it."""
        return tick + jitter(self.name, tick, self.settings.jitter_seconds)

    def not_after(self, tick: datetime) -> datetime:
        """When it is too late to submit it."""
        return self.due(tick) + timedelta(seconds=self.settings.grace_seconds)

    def submission(self, tick: datetime, stop: Iterable[str], last: Success | None, manual: bool) -> Submission:
        """What the tick asks of the cluster."""
        sections = {"reconstruct": self.settings.reconstruct, "mesh": self.settings.mesh}
        asked = {name: section.model_dump(exclude_unset=True) for name, section in sections.items()}
        options = [f"--set={name}.{key}={json.dumps(asked[name][key])}" for name in asked for key in asked[name]]
        if self.settings.incremental and last is not None:
            options.append(f"--previous={last.output}")
        output = canonical(output_for(self.settings.output, tick, self.cron))
        return Submission(
            submission_id=f"isofleet-{self.name}-{tick_id(tick)}",
            catalog=canonical(self.settings.catalog),
            # By hand, besides the schedule's own ticks, whose output the pattern may give.
            output=f"{output.rstrip('/')}-{tick_id(tick)}" if manual else output,
            options=options,
            stop=list(stop),
            not_after=(tick if manual else self.due(tick)) + timedelta(seconds=self.settings.grace_seconds),
        )


def schedules(config: Config) -> list[Schedule]:
    """The schedules of a configuration. Raises RequestError, naming the key, when one cannot be used."""
    if not config.schedules:
        raise RequestError("there are no schedules; write them under schedules in ray_config.yaml.")
    return [_checked(name, settings) for name, settings in config.schedules.items()]


def _checked(name: str, settings: ScheduleSettings) -> Schedule:
    key = "time_zone"
    try:
        zone = time_zone(settings.time_zone)
        key = "cron"
        cron = Cron(settings.cron, zone)
        key = "output"
        check_pattern(settings.output, cron)
        canonical(settings.output)
        key = "jitter_seconds"
        check_jitter(settings.jitter_seconds, cron)
        key = "catalog"
        canonical(settings.catalog)
    except (ValueError, RequestError) as error:
        raise RequestError(f"schedules.{name}.{key}: {error}.") from error
    return Schedule(name, settings, cron)
