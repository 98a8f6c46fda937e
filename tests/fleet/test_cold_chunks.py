"""Weights from a store: what arrives is what was put there, or a typed error; a full cache does not stop a fetch."""

import errno
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inglenook.elastic.shape import Shape
from inglenook.errors import NookError
from inglenook.fleet import safetensors
from inglenook.fleet.cold.chunks import Cache, Fetch, Share
from inglenook.fleet.cold.store import Store
from inglenook.fleet.manifest import Manifest
from inglenook.fleet.weights import Checkpoint, config, part_names, tensor_shape

SHAPE = Shape(layers=3, width=16, hidden=24, heads=4, kv_heads=2, vocabulary=40, context=64, theta=1e4, epsilon=1e-5)
NAMES = part_names(0, SHAPE.layers, embeds=True, heads=True, tied=True)
CHUNK = 500


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """(folder of models, checkpoint, manifest) of a tiny model called "tiny"."""
    folder = tmp_path_factory.mktemp("store")
    (folder / "tiny").mkdir()
    shapes = [tensor_shape(SHAPE, name) for name in NAMES]
    values = (np.random.default_rng(5).normal(size=shape).astype("<f2") for shape in shapes)
    safetensors.write(folder / "tiny/model.safetensors", [(n, "F16", s) for n, s in zip(NAMES, shapes)], values)
    (folder / "tiny/config.json").write_text(config(SHAPE, tied=True, kind="F16"))
    return folder, Checkpoint.open(folder / "tiny"), Manifest.of(folder / "tiny/model.safetensors", CHUNK)


@pytest.fixture
def store(kept):
    with Store(kept[0]) as store:
        yield store


def share(kept, store, names=NAMES):
    return Share.of(kept[1], kept[2], store.url("tiny"), names)


def same(fetch, checkpoint):
    arrived = [(place.name, place.decode(raw)) for place, raw in fetch]
    for name, values in arrived:
        np.testing.assert_array_equal(values, checkpoint.read(name))
    return [name for name, _ in arrived]


@settings(max_examples=25, deadline=None)
@given(picked=st.lists(st.sampled_from(NAMES), unique=True, min_size=1), flights=st.integers(1, 5))
def test_any_tensors_arrive_in_the_order_asked_for(kept, picked, flights):
    with Store(kept[0]) as store, Fetch(share(kept, store, picked), flights=flights) as fetch:
        assert same(fetch, kept[1]) == picked
        assert fetch.received == fetch.share.size, "each chunk once"


def test_a_share_survives_json(kept, store):
    told = share(kept, store)
    assert Share.heard(json.loads(json.dumps(told.told()))) == told


def test_pieces_are_paced(kept, store):
    paced = []
    with Fetch(share(kept, store), pace=paced.append) as fetch:
        list(fetch)
    assert sum(paced) == fetch.share.size and max(paced) <= CHUNK


def test_the_second_time_nothing_comes_over_the_network(kept, store, tmp_path):
    for received in (share(kept, store).size, 0):
        with Fetch(share(kept, store), cache=Cache(tmp_path)) as fetch:
            same(fetch, kept[1])
        assert fetch.received == received
    next(iter(sorted(tmp_path.iterdir()))).write_bytes(b"rot")
    with Fetch(share(kept, store), cache=Cache(tmp_path)) as fetch:
        same(fetch, kept[1])
    assert 0 < fetch.received <= CHUNK, "only the damaged chunk"


def test_a_full_disk_stops_the_caching_alone(kept, store, tmp_path, monkeypatch):
    def full(self, data):
        raise OSError(errno.ENOSPC, "no space")

    cache = Cache(tmp_path)
    monkeypatch.setattr(Path, "write_bytes", full)
    with Fetch(share(kept, store), cache=cache) as fetch:
        same(fetch, kept[1])
    assert fetch.problem.code == "quota" and fetch.problem.hint
    assert not list(tmp_path.iterdir())


def broken(kept, tmp_path, change):
    """A store whose file was changed after the sums were made."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    data = bytearray((kept[0] / "tiny/model.safetensors").read_bytes())
    (folder / "model.safetensors").write_bytes(change(data))
    return Store(tmp_path)


def test_a_wrong_sum_is_a_typed_error(kept, tmp_path):
    def flip(data):
        data[len(data) // 2] ^= 1
        return data

    with broken(kept, tmp_path, flip) as store, Fetch(share(kept, store)) as fetch:
        with pytest.raises(NookError) as error:
            list(fetch)
    assert error.value.code == "model-corrupt" and error.value.hint


@pytest.mark.parametrize("left", [0, 1, CHUNK, -1])
def test_a_truncated_file_is_a_typed_error(kept, tmp_path, left):
    with broken(kept, tmp_path, lambda data: data[:left]) as store, Fetch(share(kept, store)) as fetch:
        with pytest.raises(NookError) as error:
            list(fetch)
    assert error.value.code == "model-truncated" and error.value.hint


def test_no_store_and_no_file_are_typed_errors(kept):
    with Store(kept[0]) as store:
        gone = share(kept, store)
        missing = Share(store.url("nothing"), gone.manifest, gone.places)
        with Fetch(missing) as fetch, pytest.raises(NookError) as error:
            list(fetch)
        assert error.value.code == "fetch"
    with Fetch(gone) as fetch, pytest.raises(NookError) as error:
        list(fetch)
    assert error.value.code == "fetch" and error.value.hint


def test_a_store_that_hangs_up_in_the_middle_is_tried_once_more(kept):
    size, asked = kept[2].size, []
    data = (kept[0] / "tiny/model.safetensors").read_bytes()

    class Rude(BaseHTTPRequestHandler):
        def do_GET(self):
            start, end = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
            asked.append(start)
            self.send_response(206)
            self.send_header("Content-Length", str(end - start + 1))
            self.send_header("Content-Range", f"bytes {start}-{end}/{size}")
            self.end_headers()
            whole = asked.count(start) > 1
            self.wfile.write(data[start : end + 1 if whole else end - 7])

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Rude)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/tiny"
        with Fetch(Share(url, kept[2], tuple(kept[1].places.values())), flights=1) as fetch:
            same(fetch, kept[1])
        assert all(asked.count(start) == 2 for start in asked)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_closing_early_ends_the_threads(kept, store):
    with Fetch(share(kept, store)) as fetch:
        next(iter(fetch))
    for thread in fetch._threads:
        thread.join(5)
        assert not thread.is_alive()
    with pytest.raises(NookError):
        list(fetch)


@pytest.mark.parametrize(
    ("path", "asked", "status"),
    [
        ("/tiny/config.json", None, 200), ("/tiny/config.json", "bytes=0-3", 206), ("/nope", None, 404),
        ("/../secret", None, 404), ("/%2e%2e/secret", None, 404), ("/tiny", None, 404),
        ("/tiny/config.json", "bytes=9-", 400), ("/tiny/config.json", "bytes=99999-100000", 416),
    ],
)  # fmt: skip
def test_the_store_serves_its_folder_alone(kept, store, path, asked, status):
    import http.client

    (kept[0].parent / "secret").write_text("no")
    connection = http.client.HTTPConnection("127.0.0.1", store.port)
    connection.request("GET", path, headers={"Range": asked} if asked else {})
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == status
    whole = (kept[0] / "tiny/config.json").read_bytes()
    assert status not in (200, 206) or body == (whole if status == 200 else whole[:4])
    connection.close()
