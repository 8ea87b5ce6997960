"""The line of a call that went well, from a template: it is written for every request of a model that costs less.

The template is what the general renderer makes of placeholders, so both give the same line (a test compares them). Only
what differs from call to call is filled in, and only into fields whose type is checked here as it is there.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from bedside.observability.events import Event
from bedside.observability.fields import CLEAN
from bedside.observability.rendering import Clock, EcsRenderer, Service, utc_now
from bedside.observability.schema import STAGES, Kind
from bedside.observability.template import MOMENT, MOMENT_PLACES, Template, number, word

_MOST_TEMPLATES = 1024
_NUMBERS = ("duration_ns", "rows", "input_bytes", "output_bytes")
_keyword = CLEAN[Kind.KEYWORD]


class InferenceLines:
    """Renders ``inference_completed`` of calls that went well.

    Args:
        service: as the general renderer has it.
        clock: time of day.
    """

    def __init__(self, service: Service, clock: Clock = utc_now) -> None:
        self._clock = clock
        self._general = EcsRenderer(service, lambda: MOMENT)
        self._templates: dict[tuple[object, ...], Template] = {}
        self._second = MOMENT, b""  # one for all lines of a second

    def render(self, same: Mapping[str, Any], varying: Mapping[str, Any], stages: Mapping[str, float]) -> bytes | None:
        """Return the line, or None where the general renderer must look at it.

        Args:
            same: fields that many calls share: model, version, caller ….
            varying: numbers of this call and, as text, its ids.
            stages: seconds by stage.
        """
        key = (*same.values(), *varying, *stages)
        template = self._templates.get(key)
        if template is None:
            template = self._make(key, same, varying, stages)
        if _keyword(varying["request_id"]) is None:
            return None
        moment = self._clock()
        beyond = moment - self._second[0]
        if beyond.days or beyond.seconds:
            beyond = timedelta(microseconds=moment.microsecond)
            self._second = moment - beyond, moment.isoformat()[:19].encode()  # without the zone
        values = [value.encode() if type(value) is str else value for value in varying.values()]
        times = [spent * 1e3 for spent in stages.values()]
        return template.fill((self._second[1], beyond.microseconds, *values, *times))

    def _make(
        self,
        key: tuple[object, ...],
        same: Mapping[str, Any],
        varying: Mapping[str, Any],
        stages: Mapping[str, float],
    ) -> Template:
        facts = {name: number(_NUMBERS.index(name)) if name in _NUMBERS else word(name) for name in varying}
        times = {f"{stage}_ms": float(number(len(_NUMBERS) + index)) for index, stage in enumerate(stages)}
        known = {f"{stage}_ms" for stage in STAGES}
        event = {"event": Event.INFERENCE_COMPLETED.value, "logger_name": "bedside.inference", **same, **facts}
        line = self._general(None, "info", event | {name: time for name, time in times.items() if name in known})
        places = {str(fact): b"%d" if name in _NUMBERS else b"%b" for name, fact in facts.items()}
        template = Template(line, {**MOMENT_PLACES, **places, **{repr(time): b"%.3f" for time in times.values()}})
        if len(self._templates) >= _MOST_TEMPLATES:
            self._templates.clear()
        self._templates[key] = template
        return template
