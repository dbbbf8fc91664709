//! How it looks.

use std::collections::VecDeque;
use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, RenderDirection, Row, Sparkline, Table, TableState};

use super::feed::Snapshot;
use super::screen::Screen;
use crate::ctl::answers::Client;
use crate::ctl::clients::place;
use crate::ctl::status::losses;
use crate::ctl::table::{Column, Kind, cut, figure, fit, text};
use crate::ctl::words::{ago, bytes, count, duration, escaped};

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const DIM: Style = Style::new().add_modifier(Modifier::DIM);
/// Not by its colour alone. The terminal leaves the colour out where NO_COLOR says so.
const BAD: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);

/// Lines of words above the charts.
const WORDS: u16 = 6;
const CHART: u16 = 4;
/// Without so many lines for clients there are no charts.
const MIN_CLIENTS: u16 = 6;
/// While there is enough memory.
const USUAL_STAGE: &str = "ample";

const COLUMNS: [Column; 10] = [
    text("CLIENT", 0),
    text("ADDRESS", 6),
    figure("FOR", 7),
    figure("IN/S", 3),
    figure("OUT/S", 3),
    figure("IN FLIGHT", 5),
    figure("QUEUED", 1),
    figure("DROPPED", 2),
    figure("RECEIVED", 8),
    figure("SENT", 8),
];

/// Draws all of it, on a screen of any size.
pub(super) fn draw(frame: &mut Frame<'_>, screen: &Screen) {
    let area = frame.area();
    let charts = if area.height >= WORDS + CHART + MIN_CLIENTS { CHART } else { 0 };
    let parts =
        [Constraint::Length(WORDS), Constraint::Length(charts), Constraint::Min(0), Constraint::Length(1)];
    let [words, charts, clients, foot] = Layout::vertical(parts).areas(area);
    match &screen.latest {
        Some(snapshot) => frame.render_widget(Paragraph::new(in_words(screen, snapshot)), words),
        None => frame.render_widget(format!("{}: waits for the first figures", screen.url), words),
    }
    draw_charts(frame, screen, charts);
    draw_clients(frame, screen, clients);
    frame.render_widget(foot_line(screen), foot);
}

fn in_words<'a>(screen: &'a Screen, snapshot: &Snapshot) -> Vec<Line<'a>> {
    let (status, stats) = (&snapshot.status, &snapshot.tick.stats);
    let uptime = duration(Duration::try_from_secs_f64(status.uptime_seconds).unwrap_or_default());
    let n = |name: &str| count(stats.get(name));
    let size = |name: &str| bytes(stats.get(name));
    let line = |title: &'static str, text: String| Line::from(vec![Span::styled(title, BOLD), text.into()]);
    let latency = match snapshot.tick.latency_us {
        Some(latency) => format!("p50 {} µs, p99 {} µs", latency.p50, latency.p99),
        None => "nothing to measure".to_owned(),
    };
    let memory = &status.memory;
    let is_short = memory.stage != USUAL_STAGE;
    let mut in_memory =
        line("memory   ", format!("{} of {}, ", bytes(memory.used_bytes), bytes(memory.budget_bytes)));
    in_memory.push_span(Span::styled(escaped(&memory.stage), if is_short { BAD } else { Style::new() }));
    in_memory.push_span(match &status.store {
        None => Span::raw("; no store"),
        Some(store) => match &store.error {
            None => Span::raw(format!("; store {}", bytes(store.bytes))),
            Some(error) => Span::styled(format!("; the store cannot be written: {}", escaped(error)), BAD),
        },
    });
    let mut lost = line("lost     ", String::new());
    if screen.rates.lost > 0 {
        lost.push_span(Span::styled(format!("+{}/s  ", count(screen.rates.lost)), BAD));
    }
    lost.push_span(losses(stats));
    vec![
        Line::from(vec![
            Span::styled(format!("sol {}", escaped(&status.version)), BOLD),
            format!(" at {}, up {uptime}", screen.url).into(),
        ]),
        line(
            "clients  ",
            format!(
                "{} connected, {} away; {} subscriptions",
                n("clients_connected"),
                n("clients_disconnected"),
                count(stats.get("subscriptions") + stats.get("shared_subscriptions"))
            ),
        ),
        line(
            "waiting  ",
            format!(
                "{} in flight, {} queued ({}); {} retained",
                n("in_flight"),
                n("queued"),
                size("queued_bytes"),
                n("retained")
            ),
        ),
        line("latency  ", latency),
        in_memory,
        lost,
    ]
}

fn draw_charts(frame: &mut Frame<'_>, screen: &Screen, area: Rect) {
    if area.is_empty() {
        return;
    }
    let [left, _, right] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(2), Constraint::Fill(1)]).areas(area);
    let rates = &screen.rates;
    draw_chart(frame, left, ("in", rates.messages_in, rates.bytes_in), &screen.history_in);
    draw_chart(frame, right, ("out", rates.messages_out, rates.bytes_out), &screen.history_out);
}

fn draw_chart(
    frame: &mut Frame<'_>,
    area: Rect,
    (title, messages, all_bytes): (&'static str, u64, u64),
    history: &VecDeque<u64>,
) {
    let [head, body] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    let rates = format!(" {} messages/s, {}/s", count(messages), bytes(all_bytes));
    frame.render_widget(Line::from(vec![Span::styled(title, BOLD), rates.into()]), head);
    let seconds = history.iter().take(body.width.into()).copied();
    frame.render_widget(Sparkline::default().data(seconds).direction(RenderDirection::RightToLeft), body);
}

fn draw_clients(frame: &mut Frame<'_>, screen: &Screen, area: Rect) {
    let cells: Vec<_> = screen.clients().iter().map(|client| cells(screen, client)).collect();
    let natural = COLUMNS.iter().enumerate().map(|(place, column)| {
        let widths = cells.iter().filter_map(|row| row.get(place)).map(|cell| Span::raw(cell).width());
        widths.max().unwrap_or_default().max(column.title.len())
    });
    let shown = fit(&COLUMNS, &natural.collect::<Vec<_>>(), Some(area.width.into()));
    let row = |cell: &dyn Fn(usize, &Column) -> String| {
        Row::new(shown.iter().filter_map(|(place, width)| {
            let column = COLUMNS.get(*place)?;
            let is_figure = column.kind == Kind::Figure;
            let alignment = if is_figure { Alignment::Right } else { Alignment::Left };
            Some(Cell::from(Line::from(cut(&cell(*place, column), *width)).alignment(alignment)))
        }))
    };
    let rows = cells.iter().map(|cells| row(&|place, _| cells.get(place).cloned().unwrap_or_default()));
    let widths = shown.iter().map(|(_, width)| Constraint::Length(u16::try_from(*width).unwrap_or(u16::MAX)));
    let table = Table::new(rows.collect::<Vec<_>>(), widths.collect::<Vec<_>>())
        .header(row(&|_, column| column.title.to_owned()).style(BOLD.add_modifier(Modifier::REVERSED)))
        .column_spacing(2)
        .row_highlight_style(BOLD.add_modifier(Modifier::REVERSED));
    let mut state = TableState::new().with_selected(screen.marked());
    frame.render_stateful_widget(table, area, &mut state);
}

fn cells(screen: &Screen, client: &Client) -> Vec<String> {
    let rates = screen.of_clients.get(&client.id).copied().unwrap_or_default();
    vec![
        escaped(&client.id),
        place(client),
        client.since.as_deref().map(ago).unwrap_or_default(),
        count(rates.0),
        count(rates.1),
        count(client.in_flight),
        count(client.queued),
        count(client.dropped),
        count(client.messages_received),
        count(client.messages_sent),
    ]
}

fn foot_line(screen: &Screen) -> Line<'static> {
    if let Some(id) = &screen.doubted {
        return Line::styled(format!("disconnect {}? y or n", escaped(id)), BAD);
    }
    if let Some(why) = &screen.lost {
        return Line::styled(format!("old figures: {why}"), BAD);
    }
    if let Some(note) = &screen.note {
        return Line::styled(note.clone(), BOLD);
    }
    let help = format!("q quit   s sort: {}   ↑↓ mark   k disconnect", screen.sort.name());
    Line::styled(help, DIM)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::KeyCode;
    use serde_json::json;

    use super::super::feed::News;
    use super::super::screen::tests::{client, press, snapshot};
    use super::*;
    use crate::ctl::Sort;

    /// The lines of a screen of that size.
    fn drawn(screen: &Screen, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, screen)).unwrap();
        let buffer = terminal.backend().buffer();
        let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        (0..height).map(|y| line(y).trim_end().to_owned()).collect()
    }

    fn watched() -> Screen {
        let (began, mut screen) = (Instant::now(), Screen::new("http://127.0.0.1:9883", Sort::Queued));
        for seconds in 0..9 {
            let clients = json!([
                client("slow\u{1b}[2J", 12_000, 0),
                client("publisher", 0, 700 * seconds),
                client("subscriber-with-a-name-that-is-long", 0, 0),
            ]);
            screen.hear(snapshot(began, seconds, &clients));
        }
        screen
    }

    #[test]
    fn the_figures_and_the_clients_are_shown() {
        let lines = drawn(&watched(), 100, 24);
        assert_eq!(lines[0], "sol 0.1.0 at http://127.0.0.1:9883, up 1d 2h");
        assert_eq!(lines[1], "clients  3 connected, 1 away; 7 subscriptions");
        assert_eq!(lines[2], "waiting  5 in flight, 12.0k queued (960 kB); 2 retained");
        assert_eq!(lines[3], "latency  p50 85 µs, p99 1234 µs");
        assert_eq!(lines[4], "memory   12.3 MB of 200 MB, ample; no store");
        assert_eq!(lines[5], "lost     +10/s  dropped_queue_full 80");
        assert!(lines[6].starts_with("in 1.00k messages/s, 50.0 kB/s "), "{}", lines[6]);
        assert!(lines[6].ends_with("  out 5.00k messages/s, 250 kB/s"), "{}", lines[6]);
        assert!(lines[9].contains("████████"), "{}", lines[9]);
        assert!(lines[10].starts_with("CLIENT ") && lines[10].contains("QUEUED"), "{}", lines[10]);
        assert!(lines[11].starts_with("slow\\u{1b}[2J ") && lines[11].contains("  12.0k "), "{}", lines[11]);
        assert!(lines[12].starts_with("publisher ") && lines[12].contains("  700 "), "{}", lines[12]);
        assert!(lines[13].starts_with("subscriber-"), "{}", lines[13]);
        assert_eq!(lines[23], "q quit   s sort: queued   ↑↓ mark   k disconnect");
    }

    #[test]
    fn what_is_asked_and_what_is_wrong_is_at_the_foot() {
        let mut screen = watched();
        press(&mut screen, KeyCode::Down);
        press(&mut screen, KeyCode::Char('k'));
        assert_eq!(drawn(&screen, 80, 24)[23], "disconnect slow\\u{1b}[2J? y or n");
        press(&mut screen, KeyCode::Char('n'));
        screen.hear(News::Lost("nothing listens".to_owned()));
        assert_eq!(drawn(&screen, 80, 24)[23], "old figures: nothing listens");
    }

    #[test]
    fn it_fits_every_screen() {
        let screens = [Screen::new("http://127.0.0.1:9883", Sort::Id), watched()];
        for (width, height) in [(1, 1), (20, 5), (40, 12), (80, 15), (300, 100)] {
            screens.iter().for_each(|screen| _ = drawn(screen, width, height));
        }
        let narrow = drawn(&watched(), 40, 12);
        assert!(narrow[6].starts_with("CLIENT") && narrow[6].contains("QUEUED"), "{}", narrow[6]);
        assert!(narrow[7].contains("12.0k"), "{}", narrow[7]);
    }
}
