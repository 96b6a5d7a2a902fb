"""A run's last values, pushed to a Prometheus Pushgateway when the driver ends.

Works on: a registry and a URL. Knows nothing about what the numbers say. A push that fails is a warning: a run never
fails for it.
"""

import logging
import threading

from prometheus_client import CollectorRegistry, pushadd_to_gateway

JOB = "isofleet"
_SECONDS = 5.0  # a gateway answers within milliseconds, and a driver under SIGTERM has other things to do

logger = logging.getLogger(__name__)


def push(url: str, run_id: str, registry: CollectorRegistry) -> None:
    """Add `registry` to the group job="isofleet", run=`run_id` of the gateway at `url`; return within 5 s."""
    problem: list[str] = [f"no answer within {_SECONDS:g} s"]

    def send() -> None:
        try:
            pushadd_to_gateway(url, JOB, registry, {"run": run_id}, timeout=_SECONDS)
            problem.clear()
        except Exception as error:  # whatever it is: the run is what counts
            problem[:] = [f"{error}" or type(error).__name__]

    # In a thread, because the time-out of a request does not bound a name's look-up or an answer that trickles in.
    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    thread.join(_SECONDS)
    if problem:
        logger.warning("metrics.pushgateway %s did not take the run's last metrics: %s.", url, problem[0])
