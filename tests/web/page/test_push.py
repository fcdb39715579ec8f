"""Notifications of the web client. Headless Chromium has no push service and shows no notifications, so PushManager is
a fake here, and so are showNotification and the list of windows in the service worker; the page, the server, what it
sends to a push service, and the service worker's own code are real."""

import json
from collections.abc import Callable
from typing import Any

from tests.conftest import Own
from tests.conversations import single
from tests.harness import PASSWORD, Deployment, Person
from tests.push.service import LOCAL, Subscription, push_service
from tests.push.test_notifying import QUICK
from tests.waiting import eventually
from tests.web.page.conftest import web
from tests.web.page.pages import Visitor

Visit = Callable[..., Visitor]

FAKE = """
const keys = %s;
const isPage = location.protocol === "http:";
let subscribed = isPage && JSON.parse(localStorage.getItem("fake") ?? "null");
const made = () => subscribed && { endpoint: keys.token, toJSON: () => ({ endpoint: keys.token, keys }),
    unsubscribe: async () => localStorage.removeItem("fake") || Boolean(subscribed = null) || true };
PushManager.prototype.getSubscription = async () => made();
PushManager.prototype.subscribe = async ({ userVisibleOnly, applicationServerKey }) => {
  if (!userVisibleOnly || applicationServerKey.length !== 87) throw new Error("a browser would refuse that");
  localStorage.setItem("fake", JSON.stringify(subscribed = true));
  return made();
};
Object.defineProperty(Notification, "permission", { get: () => "granted" });
Notification.requestPermission = async () => "granted";
"""
WORKER = """async (payload) => {
  const shown = [], opened = [], page = { focused: true, postMessage: (data) => opened.push(data), focus() {} };
  let pages = [page];
  Object.defineProperty(self, "clients", { value: {
    matchAll: async () => pages, openWindow: async (url) => opened.push(url), claim() {} } });
  ServiceWorkerRegistration.prototype.showNotification = async (title, options) => shown.push({ title, ...options });
  const happens = async (name, more) => {
    let waiting;
    self.dispatchEvent(Object.assign(new Event(name), { ...more, waitUntil: (promise) => (waiting = promise) }));
    await waiting;
  };
  const push = () => happens("push", { data: { json: () => payload } });
  await push(); // somebody looks at a page
  page.focused = false;
  await push();
  const click = () => happens("notificationclick", { notification: { close() {}, data: payload.conversation_id } });
  await click();
  pages = [];
  await click();
  return { shown, opened };
}"""


def with_browser(visit: Visit, app: Deployment, subscription: Subscription, person: Person) -> Visitor:
    """Signed in, in a browser whose push service is the test's."""
    visitor = visit(app)
    visitor.context.grant_permissions(["notifications"])
    visitor.context.add_init_script(FAKE % json.dumps(subscription.fields))
    visitor.page.reload()
    visitor.sign_in(person.username)
    return visitor


def toggle(visitor: Visitor) -> None:
    visitor.page.get_by_role("button", name="Settings").click()
    visitor.page.get_by_label("Notify me on this device").click()


def tokens(person: Person) -> list[str]:
    return [each.token for each in person.ListPushTokens().tokens]


def test_the_page_has_its_browser_notified(own: Own, visit: Visit) -> None:
    with push_service() as browsers:
        app, subscription = web(own, **QUICK, **LOCAL), browsers.subscribe()
        ann, ben = app.people(2, PASSWORD)
        ann.UpdateUserProfile(nickname="Ann")
        visitor = with_browser(visit, app, subscription, ben)
        toggle(visitor)
        eventually(lambda: tokens(ben) == [subscription.endpoint])
        visitor.page.keyboard.press("Escape")
        sent_to = single(ann, ben)
        visitor.page.goto(f"{visitor.url}/icon.svg")
        eventually(lambda: app.processes[0].metrics()("gochat_streams_open") == 0)
        ann.send(sent_to, "hello")
        (push,) = subscription.until(1)
        assert push.payload == {"conversation_id": sent_to, "title": "Ann", "unread": 1}
        visitor.page = visitor.new_page()
        visitor.page.get_by_role("navigation", name="Chats").wait_for()
        visitor.page.evaluate(
            "(id) => navigator.serviceWorker.dispatchEvent(new MessageEvent('message', { data: { open: id } }))",
            sent_to,
        )
        visitor.page.get_by_role("heading", name="Ann", level=1).wait_for()
        toggle(visitor)
        eventually(lambda: tokens(ben) == [])


def test_after_another_sign_in_the_browser_is_registered_again(own: Own, visit: Visit) -> None:
    with push_service() as browsers:
        app, subscription = web(own, **QUICK, **LOCAL), browsers.subscribe()
        ben = app.person(password=PASSWORD)
        visitor = with_browser(visit, app, subscription, ben)
        toggle(visitor)
        eventually(lambda: tokens(ben) == [subscription.endpoint])
        visitor.page.get_by_role("button", name="Sign out").click()
        eventually(lambda: tokens(ben) == [])
        visitor.sign_in(ben.username)
        eventually(lambda: tokens(ben) == [subscription.endpoint])


def test_a_notification_is_shown_to_who_does_not_look_and_opens_its_conversation(own: Own, visit: Visit) -> None:
    visitor = visit(web(own))
    worker: Any = eventually(lambda: visitor.context.service_workers)[0]
    done = worker.evaluate(WORKER, {"conversation_id": "c1", "title": "Ann", "unread": 1})
    (shown,) = done["shown"]
    assert (shown["title"], shown["body"], shown["tag"], shown["data"]) == ("Ann", "New message", "c1", "c1")
    assert done["opened"] == [{"open": "c1"}, "/#/c/c1"]
