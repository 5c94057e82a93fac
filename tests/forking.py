"""Run programs in forks of a process that has loaded the libraries: to load them takes each program seconds.

    python tests/forking.py serve ADDRESS torch pandas
    python -IS tests/forking.py run ADDRESS stages/shrink.py --task weather

`run` stands for `python`. A fork of the serving process runs the program, with the folder, variables, cores
and standard files of `run`, and `run` ends with its exit status. The code of the project is loaded anew. The
serving process has the determinism pins, so programs that do not set them first start as usual.
"""

import json
import os
import socket
import sys

USUAL = ("benchmark.py", "benchmark_policies.py", "candidates.py", "notebook.py", "preprocess.py")
"""Programs that start as usual."""
LARGEST = 2**20  # bytes of a request


def run(address, *words):
    """Have a program run by the process that serves at `address`."""
    if os.path.basename(words[0]) in USUAL:  # noqa: PTH119  (pathlib takes longer to load than all of this)
        os.execv(sys.executable, [sys.executable, *words])
    request = {"words": words, "folder": os.getcwd(), "variables": dict(os.environ)}  # noqa: PTH109
    request["cores"] = sorted(os.sched_getaffinity(0))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(address)
        socket.send_fds(connection, [json.dumps(request).encode()], [0, 1, 2])
        sys.exit(int(connection.recv(16)))


def serve(address, *modules):
    """Load `modules`, and what they load, and then run every program that is asked for."""
    import gc
    import importlib
    import signal

    from sustainable.core.determinism import PINS  # first: the libraries read them

    for name in modules:
        importlib.import_module(name)
    for name in [name for name in sys.modules if name.partition(".")[0] == "sustainable"]:
        del sys.modules[name]
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the processes that attend
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.bind(address)
        server.listen()
        while True:
            connection, _ = server.accept()
            if not os.fork():
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                server.close()
                attend(connection, PINS)
            connection.close()


def attend(connection, pins):
    """Run the program that a connection asks for, in a child, and answer with its exit status."""
    content, files, _, _ = socket.recv_fds(connection, LARGEST, 3)
    child = os.fork()
    if not child:
        connection.close()
        become(json.loads(content), files, pins)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    connection.sendall(str(status if status >= 0 else 128 - status).encode())
    os._exit(0)


def become(request, files, pins):
    """Turn this process into the program, as if Python had just been started."""
    import runpy

    for standard, file in enumerate(files):
        os.dup2(file, standard)
        os.close(file)
    os.sched_setaffinity(0, request["cores"])
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["variables"] | pins)
    sys.argv = request["words"]
    sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))  # noqa: PTH100, PTH120
    runpy.run_path(sys.argv[0], run_name="__main__")
    sys.exit()


if __name__ == "__main__":
    {"run": run, "serve": serve}[sys.argv[1]](*sys.argv[2:])
