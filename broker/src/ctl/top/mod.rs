//! `top`: the broker and its clients, each second.
//!
//! | | |
//! |---|---|
//! | `feed.rs` | asks the broker, on a thread of its own |
//! | `screen.rs` | what is known, and what keys do |
//! | `view.rs` | how it looks |

mod feed;
mod screen;
mod view;

use std::io::{self, IsTerminal};
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};

use super::api::{Api, Failure};
use super::{Sort, orders, words};
use feed::Feed;
use screen::{Action, Screen};

/// How long keys wait for news, and news for keys.
const GLANCE: Duration = Duration::from_millis(100);

pub(super) fn run(api: Api, sort: Sort) -> Result<(), Failure> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        let what = "`top` needs a terminal: `sol ctl --json status` and `clients` are for programs";
        return Err(Failure::Usage(what.to_owned()));
    }
    // Before the screen is taken: what is wrong is told as ever.
    api.get("/api/v1/status")?;
    let feed = Feed::start(api.clone(), sort)?;
    let mut terminal = ratatui::try_init().map_err(failed)?;
    let ended = watch(&api, &feed, &mut terminal, Screen::new(api.url(), sort));
    let restored = ratatui::try_restore().map_err(failed);
    ended.and(restored)
}

fn failed(error: io::Error) -> Failure {
    Failure::Other(format!("the terminal: {error}"))
}

fn watch(api: &Api, feed: &Feed, terminal: &mut DefaultTerminal, mut screen: Screen) -> Result<(), Failure> {
    loop {
        terminal.draw(|frame| view::draw(frame, &screen)).map_err(failed)?;
        let mut is_old = false;
        while !is_old {
            if event::poll(GLANCE).map_err(failed)? {
                is_old = true;
                let action = match event::read().map_err(failed)? {
                    Event::Key(key) if key.kind != KeyEventKind::Release => screen.press(key),
                    _ => None,
                };
                match action {
                    Some(Action::Quit) => return Ok(()),
                    Some(Action::Sort(sort)) => feed.sort(sort),
                    Some(Action::Kick(id)) => {
                        let done = orders::kick_shown(api, &id);
                        screen.note(done.unwrap_or_else(|failure| words::escaped(&failure.to_string())));
                    }
                    None => {}
                }
            }
            for news in feed.news() {
                is_old = true;
                screen.hear(news);
            }
        }
    }
}
