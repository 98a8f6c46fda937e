"""One engine for a page and the frames of its origin in it: who starts it, who keeps it, what its end does to whom."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.fakes.site import until

SETUP = """async () => {
  const { open } = await import('/inglenook.js');
  window.nooks = [];
  window.more = async (name = 'notes', options = {}) => nooks.push(await open(name, options));
  window.frame = async (name, options) => {
    const frame = document.body.appendChild(document.createElement('iframe'));
    frame.src = '/static/manifest.webmanifest';
    await new Promise((resolve) => frame.addEventListener('load', resolve, { once: true }));
    const script = frame.contentDocument.createElement('script');
    script.type = 'module';
    script.textContent = `import { open } from '/inglenook.js'; window.nook = await open('notes'); window.up = true;`;
    frame.contentDocument.documentElement.append(script);
    while (!frame.contentWindow.up) await new Promise((resolve) => setTimeout(resolve, 10));
    return frame;
  };
}"""


@pytest.fixture
def page(profile, stage):
    page = profile.new_page()
    page.goto(f"{stage.url}static/manifest.webmanifest")
    page.evaluate(SETUP)
    return page


def engines(page) -> int:
    return len([worker for worker in page.workers if worker.url.endswith("/worker.js")])


def test_nooks_of_a_page_share_an_engine_until_the_last_has_left(page):
    page.evaluate("async () => { await more(); await more('other'); await more('third'); }")
    assert engines(page) == 1
    page.evaluate("nooks[0].dispose(), nooks[1].dispose()")
    assert page.evaluate("nooks[2].documents().then((cards) => cards.length)") == 0
    page.evaluate("nooks[2].dispose()")
    until(page, "async () => !window.inglenookEngines.size")
    page.evaluate("() => more()")
    assert engines(page) == 1


def test_frames_share_it_too_and_go_without_it(page):
    page.evaluate("async () => { await more(); window.inner = await frame(); }")
    assert engines(page) == 1
    assert page.evaluate("inner.contentWindow.nook.status().then((status) => status.name)") == "notes"
    page.evaluate("inner.remove()")
    until(page, "async () => [...window.inglenookEngines.values()][0].users.size === 1")
    assert page.evaluate("nooks[0].documents().then((cards) => cards.length)") == 0
    page.evaluate("async () => { window.inner = await frame(); nooks[0].dispose(); }")
    assert page.evaluate("inner.contentWindow.nook.documents().then((cards) => cards.length)") == 0
    assert engines(page) == 1


def test_a_frame_that_started_the_engine_leaves_it_to_the_others(page):
    page.evaluate("async () => { window.inner = await frame(); await more(); inner.remove(); }")
    assert page.evaluate("nooks[0].documents().then((cards) => cards.length)") == 0
    assert engines(page) == 1


def test_streams_of_one_user_stop_when_it_leaves_and_others_go_on(page):
    said = page.evaluate(
        """async () => {
          await more();
          await more();
          await nooks[0].add([new File(['# Fire\\n\\nA slow fire.'], 'fire.md')]);
          const tell = async (nook, words, leave) => {
            for await (const event of nook.ask('slowly fire')) {
              if (event.type === 'Token' && ++words.n === 5 && leave) nook.dispose();
              if (words.n === 40) return 'went on';
            }
          };
          const [one, two] = [{ n: 0 }, { n: 0 }];
          return Promise.all([tell(nooks[0], one, true).catch((error) => error.code), tell(nooks[1], two, false)]);
        }"""
    )
    assert said == ["closed", "went on"]


def test_when_it_dies_all_hear_of_it_and_one_is_started_again(page):
    page.evaluate("async () => { await more(); await more(); }")
    said = page.evaluate(
        """async () => {
          await nooks[0].add([new File(['# Fire\\n\\nA slow fire.'], 'fire.md')]);
          const drain = async (stream) => { for await (const event of stream); };
          const failed = (stream) => drain(stream).catch((error) => error.code);
          const slow = failed(nooks[1].ask('slowly fire'));
          await failed(nooks[0].ask('crash fire'));
          const first = await slow;
          return [first, (await nooks[0].documents()).length, (await nooks[1].documents()).length];
        }"""
    )
    assert said[0] == "worker-died" and said[1] == said[2]
    assert engines(page) == 1


def test_a_page_that_cannot_start_workers_leaves_it_to_its_frame(profile, stage):
    page = profile.new_page()
    page.goto(f"{stage.url}static/manifest.webmanifest")
    page.evaluate(
        """() => {
          window.Worker = function () {
            const dead = new EventTarget();
            dead.postMessage = () => {};
            dead.terminate = () => {};
            setTimeout(() => dead.dispatchEvent(new ErrorEvent('error', { message: 'refused', cancelable: true })), 10);
            return dead;
          };
        }"""
    )
    page.evaluate(SETUP)
    page.evaluate("async () => { window.inner = await frame(); }")
    assert page.evaluate("inner.contentWindow.nook.documents().then((cards) => cards.length)") == 0


def test_requests_carry_the_name_of_their_app(page):
    sent = page.evaluate(
        """async () => {
          const sent = [];
          const real = MessagePort.prototype.postMessage;
          MessagePort.prototype.postMessage = function (message, ...rest) {
            sent.push(message);
            return real.call(this, message, ...rest);
          };
          await more('notes', { app: 'notes app' });
          for await (const event of nooks[0].ask('fire')) break;
          await nooks[0].chat.completions.create({ messages: [{ role: 'user', content: 'Hi' }] });
          return sent.filter(({ type }) => type === 'Ask' || type === 'Chat').map(({ type, app }) => [type, app]);
        }"""
    )
    assert sent == [["Ask", "notes app"], ["Chat", "notes app"]]


def test_the_app_and_a_widget_beside_it_share(sampled):
    sampled.evaluate(
        """async () => {
          const { open } = await import('/inglenook.js');
          window.beside = await open('notes', { app: 'beside' });
        }"""
    )
    assert engines(sampled) == 1
    expect(sampled.locator(".card")).to_have_count(5)
    assert sampled.evaluate("beside.documents().then((cards) => cards.length)") == 5
