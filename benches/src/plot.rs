//! Plots in SVG, which need nothing to be seen: bars of ratios, and curves over two logarithmic axes.
//!
//! Written here, since a plotting crate would be larger than what is drawn. Colours and text are legible on white and on
//! black.

use std::fmt::Write;

use crate::samples::Short;

const FONT: &str = "font-family='sans-serif' font-size='13'";
const INK: &str = "#888";
/// Told apart by people who see few colours, too.
const COLOURS: [&str; 5] = ["#3b82c4", "#e08a1e", "#2a9d74", "#c0508f", "#8a6fd1"];

/// Something drawn once for each of several things to compare.
#[derive(Clone, Debug, Default)]
pub struct Bars {
    /// What it shows.
    pub title: String,
    /// What the bars of a group stand for, in their order.
    pub legend: Vec<String>,
    /// A name, and for each of the legend how many times the other's its value is: over 1 to the right.
    pub groups: Vec<(String, Vec<Option<f64>>)>,
}

/// Curves over one another.
#[derive(Clone, Debug, Default)]
pub struct Curves {
    /// What it shows.
    pub title: String,
    /// What grows.
    pub x: String,
    /// What is measured.
    pub y: String,
    /// Each with its name, and its points from left to right; all above zero.
    pub curves: Vec<(String, Vec<(f64, f64)>)>,
}

impl Bars {
    /// As an SVG file.
    pub fn to_svg(&self) -> String {
        const LEFT: f64 = 270.0;
        const WIDTH: f64 = 430.0;
        const BAR: f64 = 13.0;
        const TOP: f64 = 58.0;
        let per_group = BAR * self.legend.len() as f64 + 9.0;
        let height = TOP + per_group * self.groups.len() as f64 + 30.0;
        let ratios = self.groups.iter().flat_map(|(_, ratios)| ratios).flatten().copied();
        let axis = Axis::over(ratios.chain([0.5, 2.0]), LEFT, LEFT + WIDTH);
        let mut svg = Svg::new(LEFT + WIDTH + 70.0, height, &self.title);
        svg.legend(&self.legend, 40.0);
        for at in axis.ticks() {
            let (x, bottom) = (axis.place(at), height - 24.0);
            let ink = if at == 1.0 { "stroke-width='2'" } else { "stroke-width='0.5'" };
            svg.put(&format!(
                "<line x1='{x:.1}' y1='{TOP}' x2='{x:.1}' y2='{bottom}' stroke='{INK}' {ink}/>"
            ));
            svg.text(x, height - 8.0, "middle", &format!("×{}", plain(at)));
        }
        for (number, (name, ratios)) in self.groups.iter().enumerate() {
            let top = TOP + per_group * number as f64 + 4.0;
            svg.text(LEFT - 10.0, top + per_group / 2.0, "end", name);
            for (bar, (ratio, colour)) in ratios.iter().zip(COLOURS.iter().cycle()).enumerate() {
                let (y, Some(ratio)) = (top + BAR * bar as f64, ratio) else { continue };
                let (one, end) = (axis.place(1.0), axis.place(*ratio));
                let (x, width) = (one.min(end), (one - end).abs().max(1.0));
                let height = BAR - 2.0;
                svg.put(&format!(
                    "<rect x='{x:.1}' y='{y:.1}' width='{width:.1}' height='{height}' fill='{colour}'/>"
                ));
                svg.text(one.max(end) + 4.0, y + BAR - 3.0, "start", &format!("×{}", Short(*ratio)));
            }
        }
        svg.finish()
    }
}

impl Curves {
    /// As an SVG file.
    pub fn to_svg(&self) -> String {
        const LEFT: f64 = 70.0;
        const RIGHT: f64 = 640.0;
        const TOP: f64 = 58.0;
        const BOTTOM: f64 = 340.0;
        let points = || self.curves.iter().flat_map(|(_, points)| points);
        let x = Axis::over(points().map(|point| point.0), LEFT, RIGHT);
        // At least a decade, so that what does not grow looks like it.
        let highest = points().map(|point| point.1).fold(0.0, f64::max);
        let y = Axis::over(points().map(|point| point.1).chain([highest / 10.0]), BOTTOM, TOP);
        let mut svg = Svg::new(RIGHT + 40.0, BOTTOM + 50.0, &self.title);
        let names: Vec<_> = self.curves.iter().map(|(name, _)| name.clone()).collect();
        svg.legend(&names, 40.0);
        let line = |[x1, y1, x2, y2]: [f64; 4]| {
            format!(
                "<line x1='{x1:.1}' y1='{y1:.1}' x2='{x2:.1}' y2='{y2:.1}' stroke='{INK}' stroke-width='0.5'/>"
            )
        };
        for at in x.ticks() {
            svg.put(&line([x.place(at), TOP, x.place(at), BOTTOM]));
            svg.text(x.place(at), BOTTOM + 18.0, "middle", &plain(at));
        }
        for at in y.ticks() {
            svg.put(&line([LEFT, y.place(at), RIGHT, y.place(at)]));
            svg.text(LEFT - 8.0, y.place(at) + 4.0, "end", &plain(at));
        }
        svg.text((LEFT + RIGHT) / 2.0, BOTTOM + 38.0, "middle", &self.x);
        let middle = (TOP + BOTTOM) / 2.0;
        svg.put(&format!("<g transform='rotate(-90 18 {middle})'>"));
        svg.text(18.0, middle, "middle", &self.y);
        svg.put("</g>");
        for ((_, points), colour) in self.curves.iter().zip(COLOURS.iter().cycle()) {
            let places: Vec<_> = points.iter().map(|point| (x.place(point.0), y.place(point.1))).collect();
            let path: Vec<_> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let path = path.join(" ");
            svg.put(&format!("<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2'/>"));
            for (x, y) in places {
                svg.put(&format!("<circle cx='{x:.1}' cy='{y:.1}' r='3.5' fill='{colour}'/>"));
            }
        }
        svg.finish()
    }
}

/// A logarithmic axis of whole decades.
struct Axis {
    /// Decades.
    from: f64,
    to: f64,
    /// Where they lie.
    first: f64,
    last: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>, first: f64, last: f64) -> Self {
        let (mut from, mut to) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| *value > 0.0) {
            from = from.min(value.log10());
            to = to.max(value.log10());
        }
        if from > to {
            (from, to) = (0.0, 1.0);
        }
        let from = from.floor();
        Self { from, to: to.ceil().max(from + 1.0), first, last }
    }

    fn place(&self, value: f64) -> f64 {
        let share = (value.log10() - self.from) / (self.to - self.from);
        self.first + share.clamp(0.0, 1.0) * (self.last - self.first)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        (self.from as i32..=self.to as i32).map(|decade| 10f64.powi(decade))
    }
}

/// A power of ten as people write it.
fn plain(value: f64) -> String {
    match value {
        1e6.. => format!("{} M", value / 1e6),
        1e3.. => format!("{} k", value / 1e3),
        _ => format!("{value}"),
    }
}

struct Svg(String);

impl Svg {
    fn new(width: f64, height: f64, title: &str) -> Self {
        let mut svg = Self(format!(
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' height='{height}' \
             {FONT}>\n"
        ));
        svg.text(10.0, 20.0, "start", title);
        svg
    }

    fn put(&mut self, element: &str) {
        self.0.push_str(element);
        self.0.push('\n');
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        // Writing to a string cannot fail.
        _ = writeln!(self.0, "<text x='{x:.1}' y='{y:.1}' text-anchor='{anchor}' fill='{INK}'>{text}</text>");
    }

    fn legend(&mut self, names: &[String], y: f64) {
        let mut x = 10.0;
        for (name, colour) in names.iter().zip(COLOURS.iter().cycle()) {
            let top = y - 10.0;
            self.put(&format!("<rect x='{x:.1}' y='{top}' width='11' height='11' fill='{colour}'/>"));
            self.text(x + 16.0, y, "start", name);
            x += 32.0 + 7.5 * name.chars().count() as f64;
        }
    }

    fn finish(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_has_whole_decades() {
        let axis = Axis::over([0.5, 70.0].into_iter(), 0.0, 300.0);
        assert_eq!(axis.ticks().collect::<Vec<_>>(), [0.1, 1.0, 10.0, 100.0]);
        assert_eq!([0.01, 0.1, 1.0, 100.0].map(|at| axis.place(at).round()), [0.0, 0.0, 100.0, 300.0]);
        assert_eq!(Axis::over(std::iter::empty(), 0.0, 1.0).ticks().count(), 2);
    }

    #[test]
    fn everything_is_drawn() {
        let bars = Bars {
            title: "a < b & c".to_owned(),
            legend: vec!["x".to_owned(), "y".to_owned()],
            groups: vec![("one".to_owned(), vec![Some(12.0), None]), ("two".to_owned(), vec![Some(0.4); 2])],
        };
        let svg = bars.to_svg();
        assert_eq!(svg.matches("<rect").count(), 2 + 3);
        assert!(svg.contains("a &lt; b &amp; c") && svg.contains("×12.0"));
        let curves = Curves {
            curves: vec![("one".to_owned(), vec![(1.0, 2.0), (1000.0, 2.5)]), ("two".to_owned(), vec![])],
            ..Curves::default()
        };
        let svg = curves.to_svg();
        assert_eq!((svg.matches("<circle").count(), svg.matches("<polyline").count()), (2, 2));
        assert_eq!(svg.lines().filter(|line| line.starts_with("<g ")).count(), 1);
    }
}
