"""Own the processes of `rlt up` from the first check to the last end: broker, server, worker."""

import os
import signal
import sys
import time
from types import FrameType
from typing import Final

from rlt_core.errors import ConfigurationError
from rlt_service.launch import guard, port, processes, readiness
from rlt_service.launch.broker_keeper import BrokerKeeper
from rlt_service.launch.child import Child
from rlt_service.launch.screen import Screen
from rlt_service.launch.state_folder import StateFolder
from rlt_service.listening import address_of
from rlt_service.settings import Settings

TICK_S: Final = 0.2
READY_POLL_S: Final = 0.5
TAIL_LINES: Final = 15
WORKER_END_S: Final = 15.0
"""For the worker itself to end, after its trainers' grace."""


class Tree:
    """One `rlt up`."""

    def __init__(self, settings: Settings, *, screen: Screen) -> None:
        self._settings = settings
        self._screen = screen
        self._stops = 0
        self._children: list[Child] = []
        self._broker = BrokerKeeper(settings.home) if settings.broker_url is None else None

    def run(self) -> int:
        """Start everything, serve until asked to end, end everything; gives the exit code."""
        processes.become_subreaper()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._count_stop)
        try:
            with StateFolder(self._settings.home) as folder:
                chosen = port.claim(self._settings.host, self._settings.port)
                address = address_of(self._settings.host, chosen)
                folder.note(pid=os.getppid(), address=address)
                try:
                    self._start(folder, chosen_port=chosen, address=address)
                    if self._wait_until_ready(address):
                        self._greet(address)
                        self._watch()
                finally:
                    self._end()
        finally:
            processes.end(processes.descendants(), grace_s=processes.FAST_GRACE_S)
        self._screen.say("RLT has ended; no process is left")
        return 0

    def _start(self, folder: StateFolder, *, chosen_port: int, address: str) -> None:
        if self._broker is not None:
            self._broker.start()
        environment = {
            **os.environ,
            "RLT_HOME": str(self._settings.home),
            "RLT_HOST": self._settings.host,
            "RLT_PORT": str(chosen_port),
            "RLT_ENGINE": self._settings.engine,
            "RLT_BASE_MODEL": self._settings.base_model,
            "RLT_BROKER_URL": self._broker.url if self._broker is not None else str(self._settings.broker_url),
            "RLT_SERVICE_URL": self._settings.service_url or address,
            "PYTHONUNBUFFERED": "1",
        }
        for name, module in (("server", "rlt_service"), ("worker", "rlt_service.jobs.worker")):
            child = Child(
                name,
                command=[sys.executable, "-m", module],
                environment=environment,
                log_path=folder.logs / f"{name}.log",
            )
            self._children.append(child)
            child.start()

    def _wait_until_ready(self, address: str) -> bool:
        """Show progress until the server is ready; False if the wait was broken off."""
        server = self._children[0]
        with self._screen.waiting("starting the engine and the server") as show:
            while not self._must_stop():
                ended = server.poll_end()
                if ended is not None:
                    tail = "\n  ".join(server.last_lines(TAIL_LINES))
                    raise ConfigurationError(
                        f"the server ended while starting ({ended}). Its last words (all of them in "
                        f"{server.log_path}):\n  {tail}"
                    )
                answer = readiness.ask(address)
                if answer is not None and answer.status != "not_ready":
                    return True
                show(server.last_words() or readiness.missing(answer))
                self._mend(self._children[1:])
                time.sleep(READY_POLL_S)
        return False

    def _greet(self, address: str) -> None:
        say = self._screen.say
        say(
            f"RLT is ready at {address}  (engine {self._settings.engine}, state in {self._settings.home})",
            style="green",
        )
        say("Try:")
        say(
            f"  curl -s {address}/explain -H 'Content-Type: application/json' "
            """-d '{"question": "What is 17 + 25?", "solution": "42"}'"""
        )
        say(f"  rlt --base-url {address} explain -q 'What is 17 + 25?' -s 42")
        say(f"The contract: {address}/openapi.json · logs: {self._settings.home / 'logs'} · Ctrl-C ends everything")

    def _watch(self) -> None:
        while not self._must_stop():
            self._mend(self._children)
            if self._broker is not None:
                self._broker.mend(say=self._screen.say)
            time.sleep(TICK_S)

    def _mend(self, children: list[Child]) -> None:
        for child in children:
            ended = child.poll_end()
            if ended is not None:
                self._screen.say(
                    f"the {child.name} ended ({ended}); starting it again in {child.restart_in_s or 0.0:.0f} s "
                    f"(log: {child.log_path})",
                    style="yellow",
                )
                # What it left behind (an engine, a trainer) would stand in the way of its successor.
                processes.end_orphans(self._known_pids())
            if child.restart_in_s == 0.0:
                child.start()

    def _known_pids(self) -> set[int]:
        broker_pids = self._broker.pids if self._broker is not None else frozenset[int]()
        return {child.pid for child in self._children if child.pid is not None} | broker_pids

    def _end(self) -> None:
        """End in order: server and worker drain at the same time, then the broker; at once if asked again."""
        for child in self._children:
            child.ask_to_end()
        grace_s = max(self._settings.drain_grace_s, self._settings.cancel_grace_s) + WORKER_END_S
        deadline_s = time.monotonic() + grace_s
        first_stops = self._stops
        with self._screen.waiting("ending: requests and jobs in hand may finish (Ctrl-C again ends them)") as show:
            while alive := [child.name for child in self._children if not child.has_ended()]:
                if time.monotonic() > deadline_s or self._stops > first_stops or guard.is_gone():
                    break
                show(f"waiting for: {', '.join(alive)}")
                time.sleep(TICK_S)
        if self._broker is not None:
            self._broker.stop()

    def _must_stop(self) -> bool:
        return self._stops > 0 or guard.is_gone()

    def _count_stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._stops += 1
