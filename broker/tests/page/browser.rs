//! Chromium by its DevTools protocol: what a person would do, and what the page then is.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding};
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use crate::common::peers::{exit_status, has};

/// How long a browser may take for anything: where others are at work its start alone takes long.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long between two looks at a page.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Whether to go on with a test that needs it.
pub(crate) fn has_chromium() -> bool {
    has("chromium", exit_status("chromium", &["--version"]).is_some())
}

/// Chromium without a window, ended when the test has no more use for it.
pub(crate) struct Browser {
    process: Child,
    profile: tempfile::TempDir,
}

impl Browser {
    pub(crate) fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut chromium = Command::new("chromium");
        chromium
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"])
            .args(["--disable-component-update", "--disable-sync", "--no-first-run"])
            // Two pages are both in the foreground.
            .args(["--disable-background-timer-throttling", "--disable-renderer-backgrounding"])
            .args(["--ignore-certificate-errors", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self { process: chromium.spawn().unwrap(), profile }
    }

    /// A tab with nothing in it.
    pub(crate) fn tab(&self) -> Tab {
        // The port and the path of the browser as a whole, when it is ready.
        let told = self.profile.path().join("DevToolsActivePort");
        let deadline = Instant::now() + PATIENCE;
        let (port, path) = loop {
            let told = fs::read_to_string(&told).unwrap_or_default();
            if let Some((port, path)) = told.split_once('\n').filter(|(_, path)| !path.is_empty()) {
                break (port.parse::<u16>().unwrap(), path.to_owned());
            }
            assert!(Instant::now() < deadline, "never: the place of DevTools");
            std::thread::sleep(LOOK_INTERVAL);
        };
        let mut browser = Tab::at(port, &path);
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let mut tab = Tab::at(port, &format!("/devtools/page/{}", target["targetId"].as_str().unwrap()));
        for domain in ["Page", "Runtime", "Log"] {
            tab.call(&format!("{domain}.enable"), json!({}));
        }
        tab
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// A page.
pub(crate) struct Tab {
    socket: WebSocket<TcpStream>,
    calls: u64,
    /// Exceptions that nobody caught, and errors in the console.
    problems: Vec<String>,
}

impl Tab {
    fn at(port: u16, path: &str) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (socket, _) = tungstenite::client(format!("ws://127.0.0.1:{port}{path}"), stream).unwrap();
        Self { socket, calls: 0, problems: Vec::new() }
    }

    #[track_caller]
    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.try_call(method, parameters).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn try_call(&mut self, method: &str, parameters: Value) -> Result<Value, Value> {
        self.calls += 1;
        let call = json!({ "id": self.calls, "method": method, "params": parameters });
        self.socket.send(Message::text(call.to_string())).unwrap();
        loop {
            let Message::Text(text) = self.socket.read().unwrap() else { continue };
            let mut said: Value = serde_json::from_str(&text).unwrap();
            if said["id"] == self.calls {
                let error = said["error"].take();
                return if error.is_null() { Ok(said["result"].take()) } else { Err(error) };
            }
            let is_error = said["params"]["entry"]["level"] == "error";
            if said["method"] == "Runtime.exceptionThrown" || is_error {
                self.problems.push(said["params"].to_string());
            }
        }
    }

    pub(crate) fn go(&mut self, url: &str) {
        let gone = self.call("Page.navigate", json!({ "url": url }));
        assert!(gone["errorText"].is_null(), "{url}: {gone}");
    }

    /// What an expression comes to, when it has.
    #[track_caller]
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let mut result = self.call("Runtime.evaluate", evaluation(expression));
        assert!(result["exceptionDetails"].is_null(), "{expression}: {}", result["exceptionDetails"]);
        result["result"]["value"].take()
    }

    /// None, too, where it fails, or the page goes meanwhile.
    fn try_value(&mut self, expression: &str) -> Option<Value> {
        let result = self.try_call("Runtime.evaluate", evaluation(expression)).ok()?;
        Some(result["result"]["value"].clone())
    }

    /// Waits until it is so; what fails is not so yet.
    #[track_caller]
    pub(crate) fn until(&mut self, expression: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.try_value(expression) != Some(Value::Bool(true)) {
            if Instant::now() > deadline {
                let text = self.try_value("document.body.innerText");
                panic!("never: {expression}\n{text:?}\n{:?}", self.problems);
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Loads it again; the page before is gone then.
    pub(crate) fn reload(&mut self) {
        self.value("document.title = 'before'");
        self.call("Page.reload", json!({}));
        self.until("document.title !== 'before'");
    }

    /// Presses a key.
    pub(crate) fn press(&mut self, key: &str) {
        self.press_with(key, 0);
    }

    /// Presses a key with Ctrl.
    pub(crate) fn press_ctrl(&mut self, key: &str) {
        self.press_with(key, 2);
    }

    fn press_with(&mut self, key: &str, modifiers: u8) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "Escape" => 27,
            " " => 32,
            "End" => 35,
            "Home" => 36,
            "ArrowLeft" => 37,
            "ArrowUp" => 38,
            "ArrowRight" => 39,
            "ArrowDown" => 40,
            other => panic!("{other} is no key of these tests"),
        };
        let text = match key {
            "Enter" => "\r",
            " " => " ",
            _ => "",
        };
        for kind in ["keyDown", "keyUp"] {
            let event = json!({
                "type": kind, "key": key, "code": if key == " " { "Space" } else { key }, "text": text,
                "windowsVirtualKeyCode": code, "modifiers": modifiers,
            });
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Goes on by Tab until what has the focus matches.
    #[track_caller]
    pub(crate) fn tab_to(&mut self, selector: &str) {
        for _ in 0..100 {
            self.press("Tab");
            if self.value(&format!("document.activeElement.matches({selector:?})")) == true {
                return;
            }
        }
        panic!("the focus never comes to {selector}");
    }

    /// Writes in the place of what is in the field that has the focus.
    pub(crate) fn write(&mut self, text: &str) {
        self.value("document.activeElement.select()");
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// Of that many pixels.
    pub(crate) fn resize(&mut self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    /// What the person set in the system.
    pub(crate) fn prefer(&mut self, feature: &str, value: &str) {
        let features = json!([{ "name": format!("prefers-{feature}"), "value": value }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    /// A picture, where somebody wants to see it: in the directory `SOL_SCREENSHOTS`.
    pub(crate) fn picture(&mut self, name: &str) {
        let Some(directory) = std::env::var_os("SOL_SCREENSHOTS").map(PathBuf::from) else { return };
        let picture = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        let bytes = Base64::decode_vec(picture["data"].as_str().unwrap()).unwrap();
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(format!("{name}.png")), bytes).unwrap();
    }

    /// What went wrong in the page so far.
    pub(crate) fn problems(&mut self) -> Vec<String> {
        // What was told before this is answered.
        self.value("0");
        std::mem::take(&mut self.problems)
    }
}

fn evaluation(expression: &str) -> Value {
    json!({ "expression": expression, "awaitPromise": true, "returnByValue": true })
}
