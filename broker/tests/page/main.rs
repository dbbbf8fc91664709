//! The page for an operator, in Chromium, while clients are at work.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod browser;
#[path = "../common/mod.rs"]
mod common;
#[path = "../tls/pki.rs"]
#[allow(dead_code)]
mod pki;
mod sign_in;

use std::process::Command;

use browser::{Browser, Tab, has_chromium};
use common::peers::has_mqtt_js;
use common::{Client, connect, publish};
use pki::Pki;
use sol::codec::{Connect, Packet, QoS};
use sol::config::{Http, Listener, Persistence, WebSocket};
use sol::{Broker, Config};

/// What would be more than text if the page let it.
const HOSTILE: &str = "<img src=x onerror=window.hacked=1>";

const VIEWS: [&str; 4] = ["overview", "clients", "topics", "console"];

#[test]
fn an_operator_sees_what_is_wrong_and_mends_it() {
    if !has_chromium() || !has_mqtt_js() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let pki = Pki::new("authority");
    let any = "127.0.0.1:0".parse().unwrap();
    let websocket = WebSocket { path: Some("/mqtt".to_owned()), ..WebSocket::default() };
    let secure =
        Listener { tls: Some(pki.server("server").tls()), websocket: Some(websocket), ..Listener::from(any) };
    let broker = Broker::start(Config {
        listeners: vec![Listener::from(any), secure],
        http: Http::on(any),
        persistence: Some(Persistence::at(directory.path())),
        ..Config::default()
    });
    let broker = broker.unwrap();
    let [plain, wss] = *broker.local_addrs() else { panic!("two") };

    // Traffic: one that does not acknowledge, one in a browser, one with an evil name.
    let durable = Connect { clean_session: false, ..connect("stuck") };
    let mut stuck = Client::connect_as(plain, durable, false);
    stuck.subscribe("plant/#", QoS::AtLeastOnce);
    let mut native = Client::connect(plain, HOSTILE);
    native.subscribe("to/native", QoS::AtMostOnce);
    let evil = format!("plant/{}", HOSTILE.replace('>', ">!"));
    let mut retained = publish(&evil, HOSTILE.as_bytes(), QoS::AtLeastOnce);
    retained.retain = true;
    native.send(&[Packet::Publish(retained)]);
    assert!(matches!(native.receive(), Packet::Puback(_)));
    let browser = Browser::start();
    let mut other = browser.tab();
    start_mqtt_js(&mut other, &format!("wss://{wss}/mqtt"));

    let mut page = browser.tab();
    page.resize(1280, 900);
    page.go(&format!("http://{}/", broker.http_addrs()[0]));
    rates_are_drawn(&mut page);
    page.picture("overview");
    by_keyboard_it_is_disconnected(&mut page);
    while stuck.receive_or_end().is_some() {}
    page.until("!document.querySelector('tr[data-id=stuck]')");
    topics_are_text(&mut page);
    the_console_is_a_client(&mut page, &mut native);
    // MQTT.js never noticed.
    other.until("window.state === 'connected' && window.came > 20");
    assert_eq!(other.problems(), Vec::<String>::new());

    it_fits_everywhere(&mut page);
    assert_eq!(page.value("window.hacked === undefined"), true);
    assert_eq!(page.problems(), Vec::<String>::new());
}

/// Publishes at each QoS for as long as the page lives, and counts what comes back.
fn start_mqtt_js(tab: &mut Tab, url: &str) {
    let find =
        "console.log(require('path').dirname(require.resolve('mqtt/package.json')) + '/dist/mqtt.min.js')";
    let found = Command::new("node").args(["-e", find]).output().unwrap();
    let library = std::fs::read_to_string(String::from_utf8(found.stdout).unwrap().trim()).unwrap();
    tab.value(&format!("{library}; 0"));
    tab.value(&format!(
        "(async () => {{
            window.came = 0
            const client = await mqtt.connectAsync('{url}', {{ clientId: 'browser', protocolVersion: 5 }})
            window.state = 'connected'
            client.on('close', () => (window.state = 'closed'))
            client.on('message', () => (window.came += 1))
            await client.subscribeAsync('plant/#', {{ qos: 2 }})
            let n = 0
            setInterval(() => {{
                n += 1
                client.publish('plant/line/temperature', String(20 + Math.sin(n / 9)), {{ qos: n % 3 }})
                client.publish('plant/line/state', JSON.stringify({{ n, isOn: true }}))
            }}, 10)
        }})()"
    ));
}

fn rates_are_drawn(page: &mut Tab) {
    page.until("document.querySelector('#link').textContent === 'Live'");
    // A number, and a line of it; the store is there and waits for its disk.
    for title in ["Messages a second", "Bytes a second", "Memory", "Messages that wait", "Store"] {
        page.until(&format!(
            "(() => {{
                const chart = [...document.querySelectorAll('.chart')].find((chart) => chart.textContent.startsWith('{title}'))
                const line = chart.querySelector('path.line').getAttribute('d')
                return !chart.hidden && parseFloat(chart.querySelector('dd').textContent) > 0 && line.includes('L')
            }})()"
        ));
    }
    page.until("/ in, .* out – Sol$/.test(document.title)");
    page.until("document.querySelector('#facts').textContent.includes('up ')");
    page.until("document.querySelector('#listeners').textContent.includes('websockets over TLS')");
}

/// The one in trouble is the first; from there on, only keys are pressed.
fn by_keyboard_it_is_disconnected(page: &mut Tab) {
    page.tab_to("nav a[href=\"#clients\"]");
    page.press("Enter");
    page.until("document.querySelector('#clients-table tbody tr').dataset.id === 'stuck'");
    page.until("document.querySelector('[data-id=stuck] [data-name=Queued]').textContent !== '0'");
    assert_eq!(page.value("document.querySelectorAll('#clients-table img').length"), 0);
    page.picture("clients");
    page.tab_to("[data-id=stuck] .name");
    page.press("Enter");
    page.until("document.querySelector('#client-body').textContent.includes('plant/#')");
    page.picture("client");
    page.press("Escape");
    page.until("!document.querySelector('#client').open");
    page.tab_to("[data-id=stuck] .danger");
    page.press("Enter");
    page.until("document.querySelector('#kick').open");
    assert_eq!(page.value("document.querySelector('#kick-id').textContent"), "stuck");
    page.tab_to("#kick-session");
    page.press(" ");
    page.picture("kick");
    page.tab_to("#kick-yes");
    page.press("Enter");
    page.until("document.querySelector('#toast').textContent === 'stuck: disconnected, session ended'");
}

fn topics_are_text(page: &mut Tab) {
    page.value("document.querySelector('nav a[href=\"#topics\"]').focus()");
    page.press("Enter");
    page.until("document.querySelector('#tree').textContent.includes('temperature')");
    page.tab_to("[role=treeitem]");
    page.press("End");
    page.until("document.querySelector('#topic h2').textContent === 'plant/line/temperature'");
    page.until("document.querySelectorAll('#topic .past path[d]').length === 1");
    page.picture("topics");
    page.press("Home");
    page.press("ArrowDown");
    page.until(&format!("document.querySelector('#topic pre').textContent === {HOSTILE:?}"));
    assert_eq!(page.value("document.querySelectorAll('#topic img, #tree img').length"), 0);
    page.press("ArrowUp");
    page.press("ArrowLeft");
    page.until("document.querySelectorAll('[role=treeitem]').length === 1");
}

fn the_console_is_a_client(page: &mut Tab, native: &mut Client) {
    page.value("location.hash = '#console'");
    page.until("!document.querySelector('#view-console').hidden");
    page.value("document.querySelector('#subscribe-filter').focus()");
    page.write("from/+");
    page.press("Enter");
    page.until("document.querySelector('#subscribed').textContent.includes('from/+')");
    // The stream may not be open yet: what is published before is not for it.
    page.until("document.querySelector('#messages-count').textContent === '0 messages'");
    for attempt in 0.. {
        native.publish("from/native", format!("{HOSTILE} {attempt}").as_bytes());
        if page.value("document.querySelectorAll('#messages li').length") != 0 {
            break;
        }
        assert!(attempt < 1000, "nothing comes");
    }
    page.until(&format!("document.querySelector('#messages pre').textContent.startsWith({HOSTILE:?})"));
    page.value("document.querySelector('#publish-topic').focus()");
    page.write("to/native");
    page.tab_to("#publish-payload");
    page.write("grüß dich");
    page.press_ctrl("Enter");
    assert_eq!(native.message(), "grüß dich".as_bytes());
    page.until("document.querySelector('#published').textContent.endsWith('published to 1 receiver')");
    page.picture("console");
}

fn it_fits_everywhere(page: &mut Tab) {
    let back = "getComputedStyle(document.body).backgroundColor";
    let light = page.value(back);
    for (scheme, width) in [("dark", 1280), ("light", 320), ("dark", 320)] {
        page.prefer("color-scheme", scheme);
        assert_eq!(page.value(back) == light, scheme == "light");
        page.resize(width, 900);
        for view in VIEWS {
            page.value(&format!("location.hash = '#{view}'"));
            page.until(&format!("!document.querySelector('#view-{view}').hidden"));
            page.until("document.documentElement.scrollWidth <= document.documentElement.clientWidth");
            page.picture(&format!("{view}-{scheme}-{width}"));
        }
    }
    page.prefer("reduced-motion", "reduce");
    let moving = "[...document.querySelectorAll('*')].filter((one) => \
                  getComputedStyle(one).transitionDuration !== '0s').length";
    assert_eq!(page.value(moving), 0);
}
