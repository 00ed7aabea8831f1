"""The command `wct-jax serve`: its start, its end, and what it refuses."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest

from wct_jax.cli.serve import main


@pytest.fixture
def refuse(capsys):
    """Run the command in this process, with something wrong: the sentence that it says."""

    def refuse(*flags):
        with pytest.raises(SystemExit) as stop:
            main([str(flag) for flag in flags], "wct-jax serve")
        assert stop.value.code == 2
        out, err = capsys.readouterr()
        assert out == ""
        *before, last = err.splitlines()
        assert all(line.startswith("wct-jax serve: http://127.0.0.1:") for line in before)
        assert last.startswith("wct-jax serve: error: ")
        return last.removeprefix("wct-jax serve: error: ")

    return refuse


def test_help_loads_no_server():
    code = (
        "import sys\n"
        "from wct_jax.cli.main import main\n"
        "try:\n"
        "    main(['serve', '--help'])\n"
        "except SystemExit as stop:\n"
        "    assert stop.code == 0\n"
        "assert not {'jax', 'fastapi', 'uvicorn', 'numpy', 'PIL'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_server_answers_and_paints(server, order, opened):
    assert server.process.address.startswith("http://127.0.0.1:")
    assert opened(server.post("/v1/paint", **order())).size == (24, 17)
    assert server.get("/v1/models").json()[0]["name"].endswith("model.safetensors")
    assert server.get("/").status_code in (200, 307)


def test_the_port_answers_before_jax_is_loaded():
    """The server's own modules load none of it; the thread that paints does."""
    code = "import sys, wct_jax.server.serving; assert 'jax' not in sys.modules, 'jax'"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("which", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_an_end_in_the_middle_of_a_job(running, ready, model_file, order, encoded, tmp_path, which):
    environment = {"TMPDIR": str(tmp_path)}
    with running("--model", model_file, environment=environment) as process:
        answers = []
        with httpx.Client(base_url=process.address, timeout=60, trust_env=False) as client:
            ready(client)
            # More than can be painted in time.
            options = json.dumps({"method": "cascade", "passes": 1000})
            photo = encoded(500, 500, "JPEG")
            waiting = threading.Thread(
                target=lambda: answers.append(client.post("/v1/paint", **order(photo=photo, options=options)))
            )
            waiting.start()
            while "wct_jobs_running 1" not in client.get("/metrics").text:
                assert not answers, answers[0].text
                time.sleep(0.02)
            began = time.monotonic()
            process.send_signal(which)
            assert process.wait(20) == 0
            seconds = time.monotonic() - began
            waiting.join()
        assert process.stderr.read() == ""
    assert answers[0].status_code == 503
    assert answers[0].json()["detail"] == "the work was cancelled"
    assert seconds < 8  # 5 where nothing else runs.
    assert list(tmp_path.iterdir()) == []


def test_an_end_at_rest(running, ready, model_file):
    with running("--model", model_file) as process:
        with httpx.Client(base_url=process.address, trust_env=False) as client:
            ready(client)
        process.terminate()
        assert process.wait(20) == 0
        assert process.stderr.read() == ""


def test_a_token_is_printed_for_other_machines(running, model_file):
    with running("--model", model_file, "--host", "0.0.0.0") as process:
        address, _, token = process.address.partition("#token=")
        assert len(token) >= 20
        where = f"http://127.0.0.1:{address.rstrip('/').rpartition(':')[2]}"
        with httpx.Client(base_url=where, trust_env=False) as client:
            assert client.get("/v1/styles").status_code == 401
            assert client.get("/v1/styles", headers={"authorization": f"Bearer {token}"}).status_code == 200


def test_mistakes(refuse, model_file, tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "cannot serve at port" in refuse("--port", taken.getsockname()[1])
    assert "cannot serve at port" in refuse("--host", "203.0.113.1", "--port", 0)
    assert "no model file" in refuse("--port", 0, "--model", tmp_path / "none")
    assert "16 signs" in refuse("--token", "short")
    assert "--queue" in refuse("--queue", 0)
    assert "--warm" in refuse("--warm", 5)
    monkeypatch.setenv("WCT_JAX_TOKEN", "a b")
    assert "16 signs" in refuse()
    monkeypatch.delenv("WCT_JAX_TOKEN")


def test_without_the_extra(refuse, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("wct_jax.server.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert 'pip install "wct_jax[web]"' in refuse()


@pytest.mark.slow
def test_no_request_that_the_description_allows_fails(server):
    """By schemathesis: no answer is a 500, and each is of the described kind."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.base_url}openapi.json"]
    checks = "not_a_server_error,content_type_conformance,status_code_conformance"
    done = subprocess.run(
        [*command, "--checks", checks, "--max-examples", "40", "--seed", "1", "--rate-limit", "80/s"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
