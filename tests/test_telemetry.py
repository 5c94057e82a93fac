"""No process of the project reaches for the network."""

import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from network import attempts_of, watch

SECONDS = 15
"""ONNX Runtime uploads from a thread of its own, a few seconds after it has opened a session."""

USE_BOTH_RUNTIMES = f"""
import io, time
import openvino, onnxruntime
from onnx import TensorProto, helper
ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", ends[:1], ends[1:])
opset = [helper.make_opsetid("", 17)]
model = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
session = onnxruntime.InferenceSession(model)
core = openvino.Core()
core.compile_model(core.read_model(io.BytesIO(model)), "CPU")
time.sleep({SECONDS})
"""
IN_A_WORKER = f"""
from sustainable.core.errors import UserError
from sustainable.core.parallel import in_parallel
def use(code):
    assert UserError  # as every task of a stage, this one needs something of the library
    exec(code, {{}})
list(in_parallel(use, [({USE_BOTH_RUNTIMES!r},)] * 2, "workers", 2))
"""
PROGRAMS = {
    "without the switch": USE_BOTH_RUNTIMES,
    "in this process": "import sustainable\n" + USE_BOTH_RUNTIMES,
    "in a child": f"""
import subprocess, sys
code = "import sustainable.core" + {USE_BOTH_RUNTIMES!r}
subprocess.run([sys.executable, "-c", code], check=True)
""",
    "in workers": IN_A_WORKER,
}


@pytest.fixture(scope="module")
def watched(project, tmp_path_factory):
    """Every program's attempts to reach the network, and the files that it has left in the user's home.

    The environment is bare, because both runtimes keep still where a variable tells them of a CI service.
    """
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    kept = {name: os.environ[name] for name in ("PATH", "SSL_CERT_FILE") if name in os.environ}

    def run(name):
        home = tmp_path_factory.mktemp("home")
        environment = kept | {"HOME": str(home), "PYTHONPATH": str(project / "stages")}
        command = [sys.executable, "-c", PROGRAMS[name]]
        done, attempts = watch(command, env=environment, cwd=home, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return attempts, sorted(path.name for path in home.rglob("*"))

    with ThreadPoolExecutor() as pool:  # they mostly sleep
        return dict(zip(PROGRAMS, pool.map(run, PROGRAMS), strict=True))


def test_both_runtimes_reach_for_the_network_without_the_switch(watched):
    attempts, files = watched["without the switch"]
    asked = " ".join(attempts)
    assert "look up www.google-analytics.com" in asked
    assert "events.data.microsoft.com" in asked
    assert {"deviceid", "openvino_ga_cid"} <= set(files)


@pytest.mark.parametrize("name", [name for name in PROGRAMS if name != "without the switch"])
def test_no_process_of_the_project_does(watched, name):
    assert watched[name] == ([], [])


@pytest.mark.parametrize(
    ("line", "attempts"),
    [
        (
            '7 connect(3, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("192.0.2.1")}, 16) = 0',
            ["connect to 192.0.2.1 port 443"],
        ),
        (
            "7 connect(3, {sa_family=AF_INET6, sin6_port=htons(80), sin6_flowinfo=htonl(0), "
            'inet_pton(AF_INET6, "2001:db8::1", &sin6_addr), sin6_scope_id=0}, 28) = 0',
            ["connect to 2001:db8::1 port 80"],
        ),
        (
            '7 connect(3, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("127.0.0.53")}, 16) = 0',
            ["connect to 127.0.0.53 port 53"],
        ),
        (
            '7 connect(3, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("127.0.0.1")}, 16) = 0',
            [],
        ),
        ('7 connect(9, {sa_family=AF_UNIX, sun_path="/var/run/nscd/socket"}, 110) = -1 ENOENT', []),
        (
            r'7 sendto(7, "\x58\x66\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01\x61\x02\x64\x65\x00\x00\x01"'
            ", 20, MSG_NOSIGNAL, NULL, 0) = 20",
            ["look up a.de"],
        ),
        (r'7 sendto(7, "\x14\x00\x00\x00\x16\x00\x01\x03", 20, 0, {sa_family=AF_NETLINK}, 12) = 20', []),
    ],
)
def test_attempts_are_read_from_system_calls(line, attempts):
    assert attempts_of(line) == attempts
