//! The page asks who somebody is.

use std::fs;

use sol::config::Http;
use sol::{Broker, Config};

use crate::browser::{Browser, Tab, has_chromium};

const TOKEN: &str = "0123456789abcdef";
/// The password is `secret`.
const USERS: &str = "alice:$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA";

#[test]
fn who_has_a_token_or_a_password_is_let_in() {
    if !has_chromium() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (token, users) = (directory.path().join("token"), directory.path().join("users"));
    fs::write(&token, TOKEN).unwrap();
    fs::write(&users, USERS).unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    let http = Http { token_file: Some(token), password_file: Some(users), ..Http::on(any) };
    let broker = Broker::start(Config { http, ..Config::on(any) }).unwrap();
    let browser = Browser::start();
    let mut page = browser.tab();
    page.go(&format!("http://{}/", broker.http_addrs()[0]));

    asked(&mut page);
    page.picture("sign-in");
    // The focus is where it is needed.
    page.write("not the token, but as long");
    page.press("Enter");
    page.until("document.querySelector('#sign-in-why').textContent.includes('no token')");
    page.until("document.activeElement.id === 'sign-in-secret'");
    page.write(TOKEN);
    page.press("Enter");
    live(&mut page);

    // It is known for as long as the tab lives.
    page.reload();
    live(&mut page);
    // Which loads the page anew: not while the answer to this is awaited.
    page.value("setTimeout(() => document.querySelector('#leave').click()); 0");
    asked(&mut page);
    page.value("document.querySelector('#sign-in-user').focus()");
    page.write("alice");
    page.tab_to("#sign-in-secret");
    page.write("secret");
    page.press("Enter");
    live(&mut page);
}

fn asked(page: &mut Tab) {
    page.until("document.querySelector('#sign-in').open && document.activeElement.id === 'sign-in-secret'");
}

fn live(page: &mut Tab) {
    page.until("document.querySelector('#link').textContent === 'Live'");
    page.until("document.querySelector('#facts').textContent.startsWith('Sol ')");
    assert_eq!(page.value("document.querySelector('#sign-in').open"), false);
}
