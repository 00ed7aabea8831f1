"""Kept styles, and what the server tells about itself."""

import re

import pytest

import wct_jax


def test_the_styles_of_the_package(client, opened, refused):
    styles = client.get("/v1/styles").json()
    assert [style["id"] for style in styles] == ["waves", "mosaic", "ink"]
    for style in styles:
        assert max(style["width"], style["height"]) == 512
        small = opened(client.get(style["thumbnail"]))
        assert (small.format, max(small.size)) == ("JPEG", 256)
    assert "stays" in refused(client.delete("/v1/styles/ink"), 403)


def test_a_style_is_kept_and_private(client, order, style, opened, refused):
    answer = client.post("/v1/styles", files={"style": ("../../my picture.png", style)})
    kept = answer.json()
    assert answer.status_code == 201
    assert {"name": "my picture", "width": 20, "height": 16}.items() <= kept.items()
    assert re.fullmatch(r"[\w-]{20,}", kept["id"])
    where = f"/v1/styles/{kept['id']}"
    assert client.get(where).json() == kept
    assert opened(client.get(kept["thumbnail"])).size == (20, 16)
    assert kept["id"] not in client.get("/v1/styles").text
    by_id, by_file = (client.post("/v1/paint", **each) for each in (order(style=None, style_id=kept["id"]), order()))
    assert opened(by_id).tobytes() == opened(by_file).tobytes()
    assert client.delete(where).status_code == 204
    for answer in (client.get(where), client.get(kept["thumbnail"]), client.delete(where)):
        assert "no such style" in refused(answer, 404)


def test_a_style_has_the_name_that_it_is_given(client, style):
    answer = client.post("/v1/styles", files={"style": ("x.png", style)}, data={"name": "Große Wellen /1"})
    assert answer.json()["name"] == "1"
    answer = client.post("/v1/styles", files={"style": ("x.png", style)}, data={"name": "Große Wellen"})
    assert answer.json()["name"] == "Große Wellen"


def test_styles_are_bounded_by_bytes(serving, encoded, refused):
    with serving(styles=10000) as client:
        ids = []
        for seed in range(6):
            answer = client.post("/v1/styles", files={"style": ("x.png", encoded(24, 24, seed=seed))})
            ids.append(answer.json()["id"])
            client.get(f"/v1/styles/{ids[0]}")  # The first one stays in use.
        found = [client.get(f"/v1/styles/{id}").status_code for id in ids]
        assert found[0] == found[-1] == 200
        assert found.count(404) >= 1
        assert client.service.styles.size <= 10000


@pytest.mark.parametrize("path", ["/v1/styles", "/v1/settings"])
def test_mistakes(client, refused, path):
    field = "style" if path == "/v1/styles" else "picture"
    refused(client.post(path, files={}, data={"x": "y"}), 415)
    refused(client.post(path, files={"other": ("x.png", b"x")}), 422)
    refused(client.post(path, files={field: ("x.txt", b"text")}), 415)
    refused(client.post(path, files=[(field, ("x.png", b"x"))] * 2), 422)


def test_facts(client):
    assert client.get("/v1/health").json() == {
        "status": "ok",
        "ready": True,
        "version": wct_jax.__version__,
        "films": True,
    }
    (model,) = client.get("/v1/models").json()
    assert {"name": "small", "default": True, "layers": ["relu3_1", "relu1_1"]}.items() <= model.items()
    assert model["methods"] == ["cascade", "one-pass"]
    metrics = client.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert "wct_ready 1\n" in metrics.text
    assert re.search(r'wct_requests_total\{path="/v1/models",method="GET",status="200"\} \d', metrics.text)
    for line in metrics.text.splitlines():
        assert re.fullmatch(
            r'# TYPE \w+ (counter|gauge|histogram)|\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? [\d.e+-]+', line
        )


def test_the_paths_of_strangers_are_not_counted_one_by_one(client):
    for number in range(3):
        client.get(f"/nothing/{number}")
        client.request(f"X{number}", "/")
    assert "nothing" not in client.get("/metrics").text
    assert "X1" not in client.get("/metrics").text


def test_the_description(client):
    described = client.get("/openapi.json").json()
    page = client.get("/docs").text
    for path in described["paths"]:
        assert path in page
    assert not re.findall(r"(?:src|href)=\"(?!/)", page)
    assert 'style="' not in page
    assert "<script" not in page
    assert client.get("/docs.css").headers["content-type"].startswith("text/css")


@pytest.mark.parametrize(
    "path",
    ["/page/../app.py", "/page/%2e%2e/app.py", "/page/..%2fapp.py", "/page//etc/passwd", "/page/", "/page/..\\app.py"],
)
def test_only_files_of_the_page_are_served(client, refused, path):
    refused(client.get(path), 404)
