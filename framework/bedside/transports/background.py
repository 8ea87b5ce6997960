"""What a server does beside answering: it runs jobs, carries results away, and makes jobs of what was received."""

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

from bedside.jobs.desk import JobDesk
from bedside.jobs.outbox import Outbox
from bedside.transports.jobs.courier import Courier
from bedside.transports.jobs.lane import JobLane


class Assembler(Protocol):
    """Makes jobs of received studies; ``transports.dicom.assembly.Assembler``."""

    async def run(self) -> None:
        """Work until cancelled."""
        ...


@dataclass
class Jobs:
    """Where jobs are handed in, what runs them here, and what carries their results away."""

    desk: JobDesk
    lane: JobLane
    outbox: Outbox
    courier: Courier | None
    assembler: Assembler | None = None
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self) -> None:
        """Begin to work."""
        self.lane.start()
        runs = [part.run() for part in (self.courier, self.assembler) if part is not None]
        self._tasks = [asyncio.create_task(run) for run in runs]

    async def stop(self) -> None:
        """Stop; what is under way is handed on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.lane.stop()
