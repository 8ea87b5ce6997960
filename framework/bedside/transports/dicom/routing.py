"""Which series of a received study go to which model."""

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bedside.dicom_settings import DicomRoute
from bedside.transports.dicom.inbox import ReceivedStudy

if TYPE_CHECKING:
    from bedside.codecs.dicom.incoming import ReceivedInstance


def routed(study: ReceivedStudy, routes: Sequence[DicomRoute]) -> "Iterator[tuple[DicomRoute, list[ReceivedInstance]]]":
    """Yield every route that matches, with the instances of the series that it matches.

    A series is judged by its images together: it is enough that one of them says what the route asks for.
    """
    for route in routes:
        if route.calling_ae_titles and study.calling_ae_title not in route.calling_ae_titles:
            continue
        series = {instance.series for instance in study.instances if _matches(instance, route)}
        if series:
            yield route, [instance for instance in study.instances if instance.series in series]


def _matches(instance: "ReceivedInstance", route: DicomRoute) -> bool:
    return (
        route.modality in ("", instance.modality)
        and (not route.description or re.search(route.description, instance.description, re.IGNORECASE) is not None)
        and (not route.body_part or instance.body_part in {part.upper() for part in route.body_part})
    )
