"""The JavaScript API: streams, stops, errors, and the engine that dies; on a scripted engine."""

from __future__ import annotations

import json
import struct
import threading
from dataclasses import asdict

import pytest
from engine.test_completions import HI, RIGHT, WRONG
from inglenook import completions
from inglenook.errors import NookError
from inglenook.wire import codec
from inglenook.wire import messages as wire

OPEN = "const { open, NookError } = await import('/inglenook.js'); const nook = await open('test');"
FILES = """
  await nook.add([
    { path: 'a.md', data: '# A\\n\\nThe fire is warm. It burns.' },
    { path: 'b.md', data: '# B\\n\\nThe water is cold.', modified: 1 },
  ], { collection: 'c' });
"""


@pytest.fixture
def js(profile, stage):
    """Run an async function body in an empty page of the site; gives what it returns."""
    room = profile.new_page()
    room.goto(f"{stage.url}static/manifest.webmanifest")
    return lambda body: room.evaluate(f"async () => {{ {body} }}")


def test_add_search_list_remove(js):
    assert js(
        OPEN
        + FILES
        + """
        const { hits } = await nook.search('warm fire', { k: 1, filter: { collections: ['c'] } });
        const cards = await nook.documents();
        const gone = await nook.remove(hits[0].document);
        const left = await nook.documents();
        const all = cards.map((c) => [c.path, c.collection]);
        return [hits.length, hits[0].path, all, gone.length, left.map((c) => c.path)];
        """
    ) == [1, "a.md", [["a.md", "c"], ["b.md", "c"]], 1, ["b.md"]]


def test_add_reports_progress_and_what_was_skipped(js):
    assert js(
        OPEN
        + """
        const seen = [];
        const report = await nook.add([{ path: 'locked.pdf', data: 'x' }, { path: 'a.txt', data: new Blob(['hello']) }],
          { onProgress: (event) => seen.push(event.type) });
        return [report.added.length, report.skipped[0].code, report.skipped[0].hint.length > 0, seen];
        """
    ) == [1, "encrypted", True, ["Progress", "Skipped", "Progress", "Added"]]


def test_a_file_too_large_is_skipped_before_it_is_read(js):
    assert js(
        OPEN
        + """
        const huge = new File(['x'], 'huge.bin');
        Object.defineProperty(huge, 'size', { value: 5e8 });
        huge.arrayBuffer = () => { throw new Error('read'); };
        const report = await nook.add([huge, { path: 'a.txt', data: 'hello' }]);
        return [report.added.length, report.skipped[0].code, report.skipped[0].message];
        """
    ) == [1, "too-large", "huge.bin is too large (500 MB)."]


def test_what_is_not_a_file_is_refused(js):
    assert (
        js(OPEN + "return nook.add([42]).then(() => 'added', (error) => error instanceof NookError && error.code);")
        == "not-a-file"
    )


def test_many_files_go_in_batches(js):
    assert js(
        OPEN
        + """
        const files = Array.from({ length: 100 }, (_, i) => ({ path: `${i}.txt`, data: `text ${i}` }));
        const { added } = await nook.add(files);
        const { gather, batches } = await import('/lib/files.js');
        const sizes = [...batches(await gather(files))].map((batch) => batch.length);
        return [added.length, sizes];
        """
    ) == [100, [24, 24, 24, 24, 4]]


def test_ask_streams_typed_events_in_order(js):
    events = js(
        OPEN
        + FILES
        + """
        const seen = [];
        for await (const event of nook.ask('Is the fire warm?')) seen.push(event.type);
        return seen;
        """
    )
    assert events[:2] == ["Hits", "Passage"]
    assert events[-2:] == ["Citation", "Timing"]
    assert set(events[2:-2]) == {"Progress", "Token"}


def test_break_stops_the_work(js):
    """The worker of the test answers Cancel by ending its endless stream; the next question is not held up by it."""
    assert (
        js(
            OPEN
            + FILES
            + """
        for await (const event of nook.ask('Tell slowly of the fire')) if (event.type === 'Token') break;
        let text = '';
        for await (const event of nook.ask('Is the fire warm?')) if (event.type === 'Token') text += event.text;
        return text;
        """
        )
        == "According to the documents: The fire is warm. That is all they say 🔥 about it."
    )


def test_abort_before_and_during(js):
    assert js(
        OPEN
        + FILES
        + """
        const drain = async (stream) => { for await (const event of stream); };
        const said = (promise) => promise.then(() => 'done', (error) => error.name);
        const stop = new AbortController();
        const asked = nook.ask('slowly fire', { signal: stop.signal });
        while ((await asked.next()).value.type !== 'Token');
        stop.abort();
        return [
          await said(drain(asked)),
          await said(nook.search('fire', { signal: AbortSignal.abort() })),
          await said(drain(nook.ask('slowly fire', { signal: AbortSignal.timeout(100) }))),
        ];
        """
    ) == ["AbortError", "AbortError", "TimeoutError"]


def test_a_slow_reader_is_not_flooded_and_misses_nothing(js):
    """Unread Progress of one stage gives way to the newest; every other event is kept, in order."""
    assert js(
        """
        const { Stream } = await import('/lib/stream.js');
        const stream = new Stream(() => {});
        for (let done = 0; done < 1000; done++) stream.push({ type: 'Progress', stage: 'read', done });
        for (let i = 0; i < 3; i++) stream.push({ type: 'Token', text: i });
        stream.push({ type: 'Progress', stage: 'embed', done: 1 });
        stream.end();
        const seen = [];
        for await (const event of stream) seen.push(event.done ?? event.text);
        return seen;
        """
    ) == [999, 0, 1, 2, 1]


def test_a_dead_worker_fails_every_stream_and_the_next_call_starts_anew(js):
    assert js(
        OPEN
        + FILES
        + """
        const said = (error) => [error.name, error.code, error.hint.length > 0];
        const caught = (promise) => promise.then(() => 'fine', said);
        const drain = async (stream) => { for await (const event of stream); };
        const both = await Promise.all([caught(drain(nook.ask('slowly fire'))), caught(drain(nook.ask('crash fire')))]);
        const again = await nook.status();
        return [both, again.name];
        """
    ) == [[["NookError", "worker-died", True]] * 2, "test"]


def test_a_worker_that_cannot_be_loaded(js):
    code = js(
        """
        const { open } = await import('/inglenook.js');
        return open('test', { base: '/nowhere/' }).then(() => 'open', (error) => [error.code, error.hint.length > 0]);
        """
    )
    assert code == ["worker-died", True]


def test_dispose_ends_what_is_open(js):
    assert js(
        OPEN
        + FILES
        + """
        const stream = nook.ask('slowly fire');
        await stream.next();
        setTimeout(() => nook.dispose(), 20);
        const drain = async (stream) => { for await (const event of stream); };
        const drained = await drain(stream).catch((error) => error.code);
        const after = await nook.status().catch((error) => error.code);
        return [drained, after];
        """
    ) == ["closed", "closed"]


def test_export_then_import_elsewhere(js):
    assert js(
        OPEN
        + FILES
        + """
        const file = await nook.export();
        const other = await open('other');
        const added = await other.import(file);
        const bad = await other.import(new Blob(['{'])).catch((error) => error.code);
        const gone = await other.import('/static/nothing.nook').catch((error) => error.code);
        return [file.name, added.length, (await other.documents()).length, bad, gone];
        """
    ) == ["notes.nook", 2, 2, "damaged", "missing"]


def test_src_is_fetched_once_until_it_changes(js, stage, tmp_path):
    nook = stage.root / "static" / "samples" / "mirror.nook"
    one = {"path": "one.txt", "collection": "site", "text": "The first."}
    two = {"path": "two.txt", "collection": "site", "text": "The second."}
    nook.write_text(json.dumps([one]))
    body = """
        const { open } = await import('/inglenook.js');
        const nook = globalThis.kept ??= await open('mirror', { src: '/static/samples/mirror.nook' });
        const { sync } = await import('/lib/prebuilt.js');
        let imports = 0;
        const hear = (event) => { if (event.stage === 'download' && event.done === event.total) imports++; };
        await sync(nook, new URL('/static/samples/mirror.nook', location.href), { onProgress: hear });
        return [imports, (await nook.documents()).map((card) => card.path)];
    """
    assert js(body) == [0, ["one.txt"]]
    nook.write_text(json.dumps([two]))
    assert js(body) == [1, ["two.txt"]], "a changed file is taken, and what left it is forgotten"
    nook.unlink()
    assert js(body) == [0, ["two.txt"]], "without the file, what was imported before serves"


def test_chat_completions_in_the_shape_clients_know(js):
    whole, chunks = js(
        OPEN
        + """
        const messages = [{ role: 'user', content: 'hello there' }];
        const whole = await nook.chat.completions.create({ messages });
        const chunks = [];
        const stream = await nook.chat.completions.create({ messages, stream: true, max_tokens: 3 });
        for await (const chunk of stream) chunks.push(chunk);
        return [whole, chunks];
        """
    )
    assert whole["object"] == "chat.completion"
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": "You said: hello there"}
    assert whole["choices"][0]["finish_reason"] == "stop"
    assert whole["usage"] == {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "You said: hello "
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert len({chunk["id"] for chunk in chunks}) == 1


def test_chat_calls_functions_and_tells_probabilities(js):
    whole, chunks, told = js(
        OPEN
        + """
        const ask = {
          messages: [{ role: 'user', content: 'Ulm?' }],
          tools: [{ type: 'function', function: { name: 'weather', parameters: { type: 'object' } } }],
          tool_choice: { type: 'function', function: { name: 'weather' } },
        };
        const create = (more) => nook.chat.completions.create({ ...ask, ...more });
        const chunks = [];
        const stream = await create({ stream: true, stream_options: { include_usage: true } });
        for await (const chunk of stream) chunks.push(chunk);
        const plain = { tools: null, tool_choice: null, response_format: { type: 'json_object' } };
        return [await create(), chunks, await create({ ...plain, logprobs: true, top_logprobs: 2 })];
        """
    )
    [choice] = whole["choices"]
    assert choice["finish_reason"] == "tool_calls" and choice["message"]["content"] is None
    [call] = choice["message"]["tool_calls"]
    assert call["function"] == {"name": "weather", "arguments": '{"city":"Ulm"}'} and call["type"] == "function"
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
    assert [delta["tool_calls"][0]["index"] for delta in deltas if "tool_calls" in delta] == [0]
    assert chunks[-2]["choices"][0]["finish_reason"] == "tool_calls" and chunks[-2]["usage"] is None
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"]["total_tokens"] == 21
    [choice] = told["choices"]
    assert json.loads(choice["message"]["content"]) == {"said": "hello"}
    first, *_ = choice["logprobs"]["content"]
    assert (first["token"], first["bytes"], first["logprob"]) == ('{"said": ', [*b'{"said": '], -0.5)
    assert len(first["top_logprobs"]) == 2


def test_requests_for_chat_are_read_as_on_a_machine(js):
    """The two readers of OpenAI's shape, in JavaScript and in Python, agree on what is asked and what is wrong."""
    bodies = [{"messages": HI, **given} for given in (*RIGHT, *WRONG)]
    found = js(
        f"""
        const {{ wired }} = await import('/lib/chat-request.js');
        const read = (body) => {{ try {{ return wired(body); }} catch (error) {{ return error.code; }} }};
        return {json.dumps(bodies)}.map(read);
        """
    )
    for body, got in zip(bodies, found, strict=True):
        try:
            wanted = asdict(completions.request(body))
        except NookError as error:
            assert got == error.code, body
        else:
            text = json.dumps({**got, "slo": {**asdict(wire.Slo()), **got["slo"]}})
            message, _ = codec.load(text[:-1] + ', "id": "1"}')
            assert asdict(message) == wanted, body


def test_network_off_refuses_a_server(js):
    assert (
        js(
            """
        const { open } = await import('/inglenook.js');
        return open('x', { server: 'ws://localhost:9/ws', network: 'off' }).catch((error) => error.code);
        """
        )
        == "network-off"
    )


def test_frames_round_trip_and_malformed_ones_are_refused(js):
    frame, back, bad = js(
        """
        const { encode, decode } = await import('/lib/frames.js');
        const files = [{ path: 'a', data: new Uint8Array([1, 2]) }, { path: 'b', data: new Uint8Array([3]) }];
        const message = { type: 'Add', id: '1', files };
        const frame = encode(message);
        const back = decode(frame.buffer);
        const fails = (make) => { try { decode(make()); return 'read'; } catch (error) { return error.name; } };
        const cut = frame.buffer.slice(0, frame.length - 1);
        const long = frame.buffer.slice(0);
        new DataView(long).setUint32(0, 1e9, true);
        const bad = [fails(() => cut), fails(() => long), fails(() => 'no json')];
        return [[...frame], back.files.map((file) => [...file.data]), bad];
        """
    )
    (length,) = struct.unpack_from("<I", bytes(frame))
    header = json.loads(bytes(frame[4 : 4 + length]))
    assert [file["data"] for file in header["files"]] == [{"$bytes": [0, 2]}, {"$bytes": [2, 1]}]
    assert frame[4 + length :] == [1, 2, 3]
    assert back == [[1, 2], [3]]
    assert bad == ["RangeError", "RangeError", "SyntaxError"]


def test_a_server_speaks_the_same_messages(js):
    """A WebSocket that answers Open and List, then leaves: the stream under way fails with server-gone."""
    server = pytest.importorskip("websockets.sync.server")

    def serve(socket):
        for frame in socket:
            message = json.loads(frame)
            if message["type"] == "List":
                socket.send(json.dumps({"type": "Documents", "id": message["id"], "cards": []}))
            if message["type"] == "Ask":
                socket.close(1001)
                return
            socket.send(json.dumps({"type": "Done", "id": message["id"]}))

    with server.serve(serve, "127.0.0.1", 0, subprotocols=["inglenook.v1"]) as running:
        port = running.socket.getsockname()[1]
        threading.Thread(target=running.serve_forever, daemon=True).start()
        result = js(
            f"""
            const {{ open }} = await import('/inglenook.js');
            const nook = await open('x', {{ server: 'ws://127.0.0.1:{port}/ws' }});
            const cards = await nook.documents();
            const drain = async (stream) => {{ for await (const event of stream); }};
            const gone = await drain(nook.ask('?')).catch((error) => error.code);
            nook.dispose();
            return [cards, gone];
            """
        )
        running.shutdown()
    assert result == [[], "server-gone"]
