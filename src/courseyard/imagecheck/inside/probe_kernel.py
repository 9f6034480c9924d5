"""Kernels: ``probe_kernel.py`` lists their names, ``probe_kernel.py NAME`` tries one out."""

from __future__ import annotations

import json
import queue
import sys
import time
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import start_new_kernel

ANSWER = "answer: "
_SECONDS = 60.0  # to start, and again to answer
#: How `1 + 1` is printed where `print` is not the word for it.
_CODE = {"bash": "echo $((1+1))", "octave": "disp(1+1)"}


def said(client: Any, code: str) -> str:
    """What a kernel prints."""
    message, text = client.execute(code), ""
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until:
        try:
            reply = client.get_iopub_msg(timeout=1)
        except queue.Empty:
            continue
        if reply["parent_header"].get("msg_id") != message:
            continue
        kind, content = reply["msg_type"], reply["content"]
        if kind == "stream":
            text += content["text"]
        elif kind == "error":
            sys.exit(f"It answered {content['ename']}: {content['evalue']}")
        elif kind == "status" and content["execution_state"] == "idle":
            return text
    sys.exit(f"It did not answer within {_SECONDS:.0f} s.")


def main() -> None:
    specs = KernelSpecManager()
    if len(sys.argv) < 2:
        print(ANSWER + json.dumps(sorted(specs.find_kernel_specs())), flush=True)
        return
    spec = specs.get_kernel_spec(sys.argv[1])
    code = _CODE.get(spec.language.lower(), "print(1+1)")
    manager, client = start_new_kernel(startup_timeout=_SECONDS, kernel_name=sys.argv[1])
    try:
        text = said(client, code).strip()
        if not text.endswith("2"):
            sys.exit(f"{code} printed {text!r} and not 2.")
    finally:
        client.stop_channels()
        manager.shutdown_kernel()
    if manager.is_alive():
        sys.exit("It did not shut down.")
    print(ANSWER + json.dumps(spec.display_name), flush=True)


main()
