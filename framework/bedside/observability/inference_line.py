"""The line of a call that went well, from a template: it is written for every request of a model that costs less.

The template is what the general renderer makes of placeholders, so both give the same line (a test compares them). Only
what differs from call to call is filled in, and only into fields whose type is checked here as it is there.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bedside.observability.events import Event
from bedside.observability.fields import CLEAN
from bedside.observability.rendering import Clock, EcsRenderer, Service, utc_now
from bedside.observability.schema import STAGES, Kind

_MOST_TEMPLATES = 1024
_MOMENT = datetime(1999, 12, 31, 23, 59, 59, 999999, UTC)  # placeholder of the time
_IDS = ("request_id", "trace_id", "span_id")  # the last two where there are traces
_NUMBERS = ("duration_ns", "rows", "input_bytes", "output_bytes")
_FIRST_PLACEHOLDER = 900719925474000  # numbers that nothing else in the line has
_keyword = CLEAN[Kind.KEYWORD]


class InferenceLines:
    """Renders ``inference_completed`` of calls that went well.

    Args:
        service: as the general renderer has it.
        clock: time of day.
    """

    def __init__(self, service: Service, clock: Clock = utc_now) -> None:
        self._clock = clock
        self._general = EcsRenderer(service, lambda: _MOMENT)
        self._templates: dict[tuple[object, ...], str] = {}

    def render(self, same: Mapping[str, Any], varying: Mapping[str, Any], stages: Mapping[str, float]) -> bytes | None:
        """Return the line, or None where the general renderer must look at it.

        Args:
            same: fields that many calls share: model, version, caller ….
            varying: ids and numbers of this call.
            stages: seconds by stage.
        """
        key = (len(varying), *same.values(), *stages)
        template = self._templates.get(key)
        if template is None:
            template = self._make(key, same, varying, stages)
        if _keyword(varying["request_id"]) is None:
            return None
        moment = self._clock()
        values: dict[str, Any] = {stage: round(spent * 1e3, 3) for stage, spent in stages.items()}
        values.update(varying)
        values["moment"] = moment.isoformat(timespec="microseconds")[:26]  # without the zone
        return (template % values).encode()

    def _make(
        self,
        key: tuple[object, ...],
        same: Mapping[str, Any],
        varying: Mapping[str, Any],
        stages: Mapping[str, float],
    ) -> str:
        placeholders = {name: _FIRST_PLACEHOLDER + number for number, name in enumerate((*_NUMBERS, *STAGES))}
        ids = {name: f"placeholder-of-{name}" for name in _IDS if name in varying}
        fields = {**same, **ids, **{name: placeholders[name] for name in _NUMBERS}}
        fields |= {f"{stage}_ms": placeholders[stage] for stage in stages if stage in placeholders}
        event = {"event": Event.INFERENCE_COMPLETED.value, "logger_name": "bedside.inference", **fields}
        line = self._general(None, "info", event).decode().replace("%", "%%")
        line = line.replace(_MOMENT.isoformat().replace("+00:00", "Z"), "%(moment)sZ")
        for name, placeholder_id in ids.items():
            line = line.replace(placeholder_id, f"%({name})s")
        for name, placeholder in placeholders.items():
            # Stages are doubles, which are written with a fraction.
            line = line.replace(f"{placeholder}.0", f"%({name})r").replace(str(placeholder), f"%({name})d")
        if len(self._templates) >= _MOST_TEMPLATES:
            self._templates.clear()
        self._templates[key] = line
        return line
