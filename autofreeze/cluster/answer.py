"""Whether an address answers as a Ray cluster does. Asked by a process of its own, which can be ended.

Ray itself tries for two minutes to reach a cluster that is not there, prints what it tries, and ends the
process that asks. ``python -m autofreeze.cluster.answer ADDRESS`` connects, and says in one line of JSON what
is wrong.
"""

import importlib
import json
import logging
import os
import re
import socket
import subprocess
import sys
from contextlib import suppress
from typing import Any

from autofreeze.cluster.asked import AUTO, is_address, is_client, split_address

SECONDS = 14.0
"""So long an address may take to answer."""

CONNECT_SECONDS = 4.0
"""So long a machine may take to accept a connection."""

PING_SECONDS = 9.0
"""So long a Ray client server may take to answer, after that."""

IMPATIENT = {
    "RAY_gcs_server_request_timeout_seconds": "5",
    "RAY_gcs_rpc_server_connect_timeout_s": "3",
    "RAY_BACKEND_LOG_LEVEL": "warning",  # says why, where Ray tries for longer than anybody waits
}
"""What Ray reads to give up sooner."""

START = "ray start --head"
JOIN = "ray start --address HOST:PORT"
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
"""How a gRPC client begins: the preface of HTTP/2 and a frame of settings."""

SETTINGS_FRAME = 4


def why_no_answer(address: str, seconds: float = SECONDS) -> str:
    """Say in one line why a cluster cannot be reached; empty where it can.

    Args:
        address: ``auto``, ``host:port`` or ``ray://host:port``.
        seconds: How long to wait for an answer.
    """
    command = [sys.executable, "-m", "autofreeze.cluster.answer", address]
    path = os.pathsep.join(part or os.getcwd() for part in sys.path)  # noqa: PTH109 - as sys.path means it
    environment = {**IMPATIENT, **os.environ, "PYTHONPATH": path, "RAY_USAGE_STATS_ENABLED": "0"}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as late:
        if b"InvalidAuthToken" in (late.stderr or b""):
            return explain("AuthenticationError", "", address)
        return (
            f"{address} does not answer as a Ray cluster does within {seconds:g} s; is it the address that "
            f"{START} told, and is the cluster up (ray status)?"
        )
    with suppress(ValueError, IndexError):
        return str(json.loads(done.stdout.splitlines()[-1])["problem"])
    told = " ".join(done.stderr.decode(errors="replace").split())[-300:] or "the process that asks has died"
    return f"{address} cannot be asked ({told})"


def find(address: str) -> str:
    """Give the address that ``auto`` stands for; others as they are.

    Raises:
        ConnectionError: There is none.
    """
    if address != AUTO:
        return address
    told = os.environ.get("RAY_ADDRESS", "")
    if told and told != AUTO:
        if not is_address(told):
            raise ConnectionError(
                f"the environment variable RAY_ADDRESS is {told!r}, and must be HOST:PORT or "
                "ray://HOST:PORT; set it so, or unset it"
            )
        return told
    from ray._private import services

    try:
        return str(services.get_ray_address_from_environment(AUTO, None))
    except ConnectionError:
        raise ConnectionError(
            f"this machine belongs to no Ray cluster: begin one ({START}), join one ({JOIN}), name one "
            "(--ray HOST:PORT), or give --ray alone for one on this machine"
        ) from None


def look(address: str) -> str:
    """Say why nothing that could be Ray listens at ``host:port``; empty where something does."""
    host, port = split_address(address)
    try:
        with socket.create_connection((host, port), timeout=CONNECT_SECONDS) as connection:
            if os.environ.get("RAY_USE_TLS", "0") != "0":
                return ""
            connection.settimeout(CONNECT_SECONDS)
            connection.sendall(HTTP2)
            head = connection.recv(9)
    except socket.gaierror:
        return f"{address} does not answer: no machine is known by the name {host}"
    except TimeoutError:
        return f"{address} does not answer within {CONNECT_SECONDS:g} s; is a firewall between?"
    except OSError as error:
        return f"{address} does not answer ({error.strerror or error}); is the cluster up ({START})?"
    if len(head) > 3 and head[3] == SETTINGS_FRAME:
        return ""
    return (
        f"what listens at {address} is no Ray cluster; the port is the one that {START} tells (6379), "
        "not the dashboard's (8265)"
    )


def explain(kind: str, text: str, address: str) -> str:
    """Put into one line why Ray refuses to connect.

    Args:
        kind: Name of the error's class.
        text: What it says.
        address: ``host:port`` or ``ray://host:port``.
    """
    line = " ".join(text.split())
    versions = re.findall(r"Ray: (\S+) Python: (\S+)", line)
    if "Version mismatch" in line and len(versions) == 2:
        (ray, python), (our_ray, our_python) = versions
        return (
            f"{address} runs Ray {ray} on Python {python}, and this is Ray {our_ray} on Python {our_python}; "
            "all machines need the same of both"
        )
    if kind == "AuthenticationError" or re.search(
        "authentication token|UNAUTHENTICATED", line, re.IGNORECASE
    ):
        return (
            f"{address} asks for a token: bring ~/.ray/auth_token of the head here, or set RAY_AUTH_TOKEN to "
            "what ray get-auth-token tells there, and set RAY_AUTH_MODE=token"
        )
    if "No node info found" in line:
        return (
            f"this machine is no node of the cluster at {address}: join it (ray start --address {address}), "
            f"or speak to it from outside (--ray ray://HOST:10001)"
        )
    if "ray[client]" in line:
        return f"{address} needs the Ray client, which is not installed: pip install 'autofreeze[cluster]'"
    if re.search("client connection timeout|StatusCode.UNIMPLEMENTED|StatusCode.DEADLINE_", line):
        return f"{address} does not answer as a Ray client server does; its port is 10001 as a rule"
    return f"{address} cannot be connected to: {kind}: {line[:300]}"


def _problem(address: str) -> str:
    """Connect to a cluster, and say why that fails; empty where it does not."""
    try:
        found = find(address)
    except ConnectionError as error:
        return str(error)
    problem = look(found)
    if problem:
        return problem
    import ray

    try:
        if is_client(found):
            _ping(found)
        else:
            ray.init(address, log_to_driver=False, logging_level=logging.FATAL)
    except SystemExit as end:
        return f"{found} does not answer as a Ray cluster does (Ray has ended with {end.code})"
    except Exception as error:  # noqa: BLE001 - whatever Ray raises is told
        cause = error.__cause__ or error
        return explain(type(cause).__name__, str(cause), found)
    return ""


def _ping(address: str) -> None:
    """Have a Ray client server answer; it starts nothing for that, as it does for a driver that connects."""
    try:
        words: Any = importlib.import_module("ray.core.generated.ray_client_pb2")
        services: Any = importlib.import_module("ray.core.generated.ray_client_pb2_grpc")
        from ray._private.grpc_utils import init_grpc_channel
    except ImportError:
        raise ValueError("needs ray[client]") from None
    host, port = split_address(address)
    channel = init_grpc_channel(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    server = services.RayletDriverStub(channel)
    ping = words.ClusterInfoRequest(type=words.ClusterInfoType.PING)
    server.ClusterInfo(ping, timeout=PING_SECONDS, wait_for_ready=True)


if __name__ == "__main__":
    print(json.dumps({"problem": _problem(sys.argv[1])}), flush=True)  # noqa: T201 - it is the answer
    os._exit(0)  # Ray's own farewell takes a second
