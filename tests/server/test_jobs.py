"""Jobs over HTTP: their progress, their order, their end."""

import asyncio
import functools
import io
import itertools
import json
import threading
import time
import zipfile

import httpx
import pytest

from wct_jax.server import service
from wct_jax.server.bounds import Bounds
from wct_jax.server.jobs import Job, Jobs, Result
from wct_jax.server.refusal import Refused
from wct_jax.studio.progress import Cancelled

ASYNC = {"prefer": "respond-async"}
NEW = itertools.count(1)


@pytest.fixture
def blocked(monkeypatch):
    """Make painting wait: an event that lets it go on, and the orders that are painted, as they begin."""
    paint, go = service.paint, threading.Event()
    go.begun = []

    def waiting(order, session, progress, cancel):
        go.begun.append(order)
        while not go.wait(0.01):
            progress("waiting", 0, 1)
            if cancel():
                raise Cancelled
        return paint(order, session, progress, cancel)

    monkeypatch.setattr(service, "paint", waiting)
    yield go
    go.set()


@pytest.fixture
def job(client, order):
    """Begin a job; what is known of it."""

    def job(**given):
        # None of them the same, or it would be known already.
        given = {"options": json.dumps({"eps": next(NEW) * 1e-9})} | given
        answer = client.post("/v1/paint", **order(**given), headers=ASYNC)
        assert answer.status_code == 202, answer.text
        assert answer.headers["location"] == f"/v1/jobs/{answer.json()['id']}"
        return answer.json()

    return job


def until(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def ended(client, id):
    """Wait for the end of a job: what is known of it."""
    until(lambda: client.get(f"/v1/jobs/{id}").json()["status"] not in ("queued", "running"))
    return client.get(f"/v1/jobs/{id}").json()


def test_a_job_and_its_result(client, job, opened):
    begun = job()
    assert begun["name"] == "photo__picture.png"
    assert len(begun["id"]) >= 20
    done = ended(client, begun["id"])
    assert {"status": "done", "error": None, "width": 24, "height": 17, "position": 0}.items() <= done.items()
    answer = client.get(done["result"])
    assert opened(answer).size == (24, 17)
    assert answer.headers["cache-control"] == "no-store"


def test_events(client, job):
    with client.stream("GET", f"/v1/jobs/{job()['id']}", headers={"accept": "text/event-stream"}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = [event.split("\n") for event in "".join(answer.iter_text()).split("\n\n") if event]
    names = [name.removeprefix("event: ") for name, _ in events]
    told = [json.loads(data.removeprefix("data: ")) for _, data in events]
    assert names[-1] == told[-1]["status"] == "done"
    assert set(names[:-1]) <= {"progress"}
    assert told[-1]["done"] == told[-1]["total"] > 0


def test_the_queue_is_in_order_and_bounded(serving, order, refused, blocked):
    with serving(queue=2) as client:

        def begin(**headers):
            options = json.dumps({"eps": 1e-6 * (1 + len(ids))})
            answer = client.post("/v1/paint", **order(options=options), headers=headers)
            if answer.status_code == 202:
                ids.append(answer.json()["id"])
            return answer

        ids = []
        begin(**ASYNC)
        until(lambda: blocked.begun)
        assert client.get(f"/v1/jobs/{ids[0]}").json()["status"] == "running"
        refused(client.get(f"/v1/jobs/{ids[0]}/result"), 409)
        begin(**ASYNC)
        begin(**ASYNC)
        assert [client.get(f"/v1/jobs/{id}").json()["position"] for id in ids] == [0, 1, 2]
        answer = begin(**ASYNC)
        assert "wait already" in refused(answer, 503)
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        # The place of one that is cancelled is free.
        assert client.delete(f"/v1/jobs/{ids[1]}").status_code == 204
        refused(client.get(f"/v1/jobs/{ids[1]}"), 404)
        assert client.get(f"/v1/jobs/{ids[2]}").json()["position"] == 1
        waiting = threading.Thread(target=begin)  # Somebody who waits comes before those who come back.
        waiting.start()
        until(lambda: client.get(f"/v1/jobs/{ids[2]}").json()["position"] == 2)
        blocked.set()
        waiting.join()
        assert ended(client, ids[2])["status"] == "done"
        assert [order.options.eps for order in blocked.begun] == [1e-6, 4e-6, 3e-6]


def test_a_client_has_a_share_of_the_queue(serving, order, refused, blocked):
    with serving(jobs=2) as client:
        for _ in range(2):
            assert client.post("/v1/paint", **order(), headers=ASYNC).status_code == 202
        assert "not finished yet" in refused(client.post("/v1/paint", **order(), headers=ASYNC), 429)
        blocked.set()


def test_deleting_cancels(client, job, refused, blocked):
    id = job()["id"]
    until(lambda: blocked.begun)
    with client.stream("GET", f"/v1/jobs/{id}", headers={"accept": "text/event-stream"}) as answer:
        events = answer.iter_text()
        next(events)
        assert client.delete(f"/v1/jobs/{id}").status_code == 204
        assert "event: cancelled" in "".join(events)
    until(lambda: not client.service.workers.running)
    assert not blocked.is_set()
    refused(client.delete(f"/v1/jobs/{id}"), 404)


def test_a_client_that_goes_away_cancels(client, order, blocked):
    with pytest.raises(httpx.ReadTimeout):
        client.post("/v1/paint", **order(options='{"eps": 0.25}'), timeout=0.3)
    until(lambda: not client.service.workers.running)
    assert blocked.begun
    assert not blocked.is_set()


def test_a_time_limit(serving, order, refused, blocked):
    with serving(seconds=0.1) as client:
        assert "longer than 0.1 seconds" in refused(client.post("/v1/paint", **order()), 504)
        answer = client.post("/v1/paint", **order(), headers=ASYNC)
        failed = ended(client, answer.json()["id"])
        assert failed["status"] == "failed"
        assert "longer than" in failed["error"]
        refused(client.get(f"/v1/jobs/{failed['id']}/result"), 504)
        blocked.set()


def test_jobs_expire(serving, order, refused):
    with serving(kept=0.2) as client:
        id = client.post("/v1/paint", **order(), headers=ASYNC).json()["id"]
        until(lambda: client.get(f"/v1/jobs/{id}").status_code != 200)
        for answer in (
            client.get(f"/v1/jobs/{id}"),
            client.get(f"/v1/jobs/{id}/result"),
            client.delete(f"/v1/jobs/{id}"),
        ):
            assert "expired" in refused(answer, 410)


def test_results_are_bounded_by_bytes():
    async def kept():
        jobs, all = Jobs(Bounds(results=250)), []
        for number in range(4):
            all.append(Job(str(number), None, "", 1))
            jobs.add(all[-1])
            all[-1].end("done", Result(b"x" * 100, "image/png", 1, 1, 0, functools.partial(disposed.append, number)))
            all[-1].ended = 2e9 + number
        jobs.sweep()
        for job in all[:2]:
            with pytest.raises(Refused, match="expired"):
                jobs.get(job.id)
        return [jobs.get(job.id).name for job in all[2:]]

    disposed = []
    assert asyncio.run(kept()) == ["2", "3"]
    assert len(disposed) == 2


def test_an_archive_has_safe_names_of_their_own(client, order, refused):
    ids = []
    for name in ("../../a.png", "a.png", "A.png", "b\\..\\c.png", "con.png\n"):
        given = order()
        given["files"][0] = ("content", (name, given["files"][0][1][1]))
        ids.append(client.post("/v1/paint", **given, headers=ASYNC).json()["id"])
    for id in ids:
        ended(client, id)
    answer = client.post("/v1/archive", json={"jobs": ids})
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as packed:
        names = packed.namelist()
        assert packed.testzip() is None
    assert len({name.casefold() for name in names}) == 5
    assert names[:2] == ["a__picture.png", "a__picture (2).png"]
    assert not [name for name in names if "/" in name or "\\" in name or "\n" in name or name.startswith(".")]
    refused(client.post("/v1/archive", json={"jobs": ["x"]}), 404)
    refused(client.post("/v1/archive", json={"jobs": []}), 422)
    refused(client.post("/v1/archive", json={}), 422)
    refused(client.post("/v1/archive", content=b"["), 422)


def test_a_failed_job_says_why(client, job, encoded):
    failed = ended(client, job(photo=encoded(40, 40)[:-200])["id"])
    assert failed["status"] == "failed"
    assert "cut short or damaged" in failed["error"]
    assert failed["result"] is None


def test_unknown_jobs(client, refused):
    for answer in (client.get("/v1/jobs/x"), client.get("/v1/jobs/x/result"), client.delete("/v1/jobs/x")):
        assert refused(answer, 404) == "there is no such job"
