"""An analyzer dies under 200 agents and comes back: how long until all of them are linked again, and nothing is stale.

    .venv/bin/python -m benchmarks.storm

A real ``skycore run --role analyzer`` and 200 links of the real client code from 4 processes, each agent with 50
interfaces and one change a second, as in `benchmarks.link`.  The analyzer is killed (SIGKILL) and started again, once
at once, and once after so long that all agents wait as long as they ever do between two attempts.  Time counts from the
moment at which it answers until each agent's state is there, by its status; and so does its CPU.
"""

from __future__ import annotations

import sys
import time

from benchmarks.link import QUIET_INTERFACES, QUIET_LINKS, Agents, Analyzer, scene

AWAY = (0.0, 15.0)
AIM = 5.0


def storm(analyzer: Analyzer, away: float) -> float:
    """Kill the analyzer, start it again, print one line; returns the seconds until all was as before."""
    analyzer.end(kill=True)
    time.sleep(away)
    analyzer.start()
    begin, cpu = time.perf_counter(), analyzer.cpu()
    polls = 0
    while True:
        status = analyzer.status()
        polls += 1
        passed = time.perf_counter() - begin
        if len(status["Agents"]) == QUIET_LINKS and not status["Graph"]["Stale"]:
            break
        if passed > 60:
            raise SystemExit(f"{len(status['Agents'])} agents after a minute, stale: {len(status['Graph']['Stale'])}")
        time.sleep(0.1)
    print(
        f"away for {away:g} s: all {QUIET_LINKS} agents with {status['Graph']['Nodes'] + status['Graph']['Edges']:,} "
        f"elements are back {passed:.1f} s after the analyzer, which took {analyzer.cpu() - cpu:.1f} s of CPU; "
        f"asked {polls} times; aim: less than {AIM:g} s",
        flush=True,
    )
    return passed


def end(agents: list[Agents]) -> int:
    """End the changes; returns how many were lost."""
    for process in agents:
        process.next()
    return sum(int(process.result()["lost"]) for process in agents)


def main() -> None:
    with scene(QUIET_LINKS, QUIET_INTERFACES, 1) as (analyzer, agents):
        for process in agents:
            process.linked()
        for process in agents:
            process.next()
        took = [storm(analyzer, away) for away in AWAY]
        lost = end(agents)
        gaps = analyzer.status()["History"]["Gaps"]
        print(f"lost {lost}, gaps {gaps}")
    sys.exit(0 if max(took) < AIM and not lost and not gaps else 1)


if __name__ == "__main__":
    main()
