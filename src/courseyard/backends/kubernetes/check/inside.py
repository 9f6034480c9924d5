"""Runs inside a probe pod, as source: tries what its wish says, writes JSON lines, then the time.

Stands alone, and takes any Python from 3.8 on: it is the image's.

    python -I -c SOURCE '{"closed": {"neighbour": ["10.0.0.1", 8888]}, "api": true}'
"""

import json
import os
import pathlib
import socket
import sys
import threading
import time

START = "/opt/courseyard/singleuser/start.py"
#: Policies reach a new pod some time after its start, and until then nothing it sees counts. In
#: seconds; what is not as it should be after that is tried again.
SETTLE, TRIES, PAUSE, PATIENCE = 3.0, 10, 1.0, 2.0


def reach(host: str, port: int) -> str:
    """``open``, ``silent`` (nothing came back), ``refused`` (something said no), or why not."""
    try:
        socket.create_connection((host, port), PATIENCE).close()
    except (socket.timeout, TimeoutError):  # noqa: UP041  # one and the same only from 3.10 on
        return "silent"
    except ConnectionRefusedError:
        return "refused"
    except OSError as error:
        return error.strerror or str(error)
    return "open"


def patient(place: "tuple[str, int]", wanted: bool) -> str:
    """The answer once it is as it should be, or the last one."""
    answer = ""
    for _ in range(TRIES):
        answer = reach(*place)
        if (answer == "open") is wanted:
            break
        time.sleep(PAUSE)
    return answer


def resolve(name: str) -> "list[str] | str":
    """The addresses of a name, once there are any, or why there are none."""
    until = time.monotonic() + TRIES * PAUSE
    while True:
        try:
            return sorted({str(found[4][0]) for found in socket.getaddrinfo(name, None)})
        except OSError as error:
            if time.monotonic() > until:
                return error.strerror or str(error)
        time.sleep(PAUSE)


def listen(port: int) -> None:
    """Take connections and end them, for as long as the pod lives."""
    both = socket.has_dualstack_ipv6()
    kind = socket.AF_INET6 if both else socket.AF_INET
    server = socket.create_server(("", port), family=kind, dualstack_ipv6=both)

    def serve() -> None:
        while True:
            server.accept()[0].close()

    threading.Thread(target=serve, daemon=True).start()


def main() -> None:
    wish = json.loads(sys.argv[1])
    if "listen" in wish:
        listen(wish["listen"])
    if {"open", "closed", "resolve"} & set(wish):
        time.sleep(SETTLE)
    closed = dict(wish.get("closed", {}))
    if wish.get("api"):
        place = (os.environ["KUBERNETES_SERVICE_HOST"], int(os.environ["KUBERNETES_SERVICE_PORT"]))
        closed["api"] = place
    said = {
        "start": pathlib.Path(START).is_file(),
        "own": reach("127.0.0.1", wish["listen"]) if "listen" in wish else None,
        # First what must be open: a network that is not there yet refuses everything.
        "open": {key: patient(place, wanted=True) for key, place in wish.get("open", {}).items()},
        "closed": {key: patient(place, wanted=False) for key, place in closed.items()},
        "names": resolve(wish["resolve"]) if "resolve" in wish else None,
    }  # fmt: skip
    print(json.dumps({"said": said}), flush=True)
    while True:
        print(json.dumps({"clock": time.time()}), flush=True)
        time.sleep(0.25)


if __name__ == "__main__":
    main()
