// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The picture: resident memory above, the bystander's latency below, over the same time.

use crate::plan::APPS;
use crate::sampler::Seen;
use e2e::svg::Svg;
use e2e::M;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 600.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 820.0;
/// Top and bottom of the two panels.
const MEMORY: (f64, f64) = (84.0, 324.0);
const LATENCY: (f64, f64) = (376.0, 536.0);
/// Time over which opens are put together, in microseconds.
const BIN: u64 = 100_000;

const COLOURS: [&str; 3] = ["#0072b2", "#d55e00", "#009e73"];
const SWAP: &str = "#555555";
const LONGEST: &str = "#aa3377";
const MEDIAN: &str = "#222222";

/// A call that is marked.
pub struct Mark {
    label: String,
    from: u64,
    to: u64,
}

impl Mark {
    /// Of a write to an attribute.
    pub fn new(what: &str, whom: &str, from: u64, to: u64) -> Mark {
        Mark {
            label: format!("{what} of {whom}: {} ms", (to - from) / 1000),
            from,
            to,
        }
    }
}

struct Drawing {
    svg: Svg,
    begin: u64,
    end: u64,
}

impl Drawing {
    fn x(&self, at: u64) -> f64 {
        let f = at.saturating_sub(self.begin) as f64 / (self.end - self.begin) as f64;
        LEFT + (RIGHT - LEFT) * f.min(1.0)
    }

    /// The name of a curve, right of the panel.
    fn name(&mut self, y: f64, colour: &str, dash: &str, label: &str) {
        self.svg.line(
            RIGHT + 8.0,
            y,
            RIGHT + 30.0,
            y,
            &format!(r#"stroke="{colour}" stroke-width="2.4" {dash}"#),
        );
        self.svg.text(
            RIGHT + 36.0,
            y + 4.5,
            &format!(r#"fill="{colour}" font-weight="bold""#),
            label,
        );
    }

    /// Frame, title and time axis of a panel.
    fn panel(&mut self, (top, bottom): (f64, f64), title: &str, unit: &str, numbers: bool) {
        let middle = (top + bottom) / 2.0;
        self.svg.upright(22.0, middle, unit);
        self.svg
            .text(LEFT, top - 12.0, r##"font-weight="bold""##, title);
        let seconds = (self.end - self.begin) as f64 / 1e6;
        let step = [1.0, 2.0, 5.0, 10.0, 20.0]
            .into_iter()
            .find(|s| seconds / s <= 16.0)
            .unwrap_or(60.0);
        let mut t = 0.0;
        while t <= seconds {
            let x = LEFT + (RIGHT - LEFT) * t / seconds;
            self.svg
                .line(x, bottom, x, bottom + 5.0, r##"stroke="#333""##);
            if numbers {
                self.svg.text(
                    x,
                    bottom + 20.0,
                    r#"text-anchor="middle""#,
                    &format!("{t:.0}"),
                );
            }
            t += step;
        }
        self.svg.rect(
            LEFT,
            top,
            RIGHT - LEFT,
            bottom - top,
            r##"fill="none" stroke="#333""##,
        );
    }

    fn tick(&mut self, y: f64, label: &str) {
        self.svg.line(LEFT, y, RIGHT, y, r##"stroke="#ddd""##);
        self.svg
            .text(LEFT - 8.0, y + 4.5, r#"text-anchor="end""#, label);
    }

    /// A call, in both panels.
    fn mark(&mut self, m: &Mark) {
        let (x1, x2) = (self.x(m.from), self.x(m.to).max(self.x(m.from) + 1.5));
        for (top, bottom) in [MEMORY, LATENCY] {
            self.svg.rect(
                x1,
                top,
                x2 - x1,
                bottom - top,
                r##"fill="#f0c040" fill-opacity="0.35""##,
            );
            self.svg.line(
                x1,
                top,
                x1,
                bottom,
                r##"stroke="#b08000" stroke-dasharray="4 3""##,
            );
        }
        self.svg.text(
            x1 + 4.0,
            MEMORY.0 + 16.0,
            r##"fill="#7a5900" font-size="12""##,
            &m.label,
        );
    }
}

/// Draws what was seen from `begin` to `end`.
pub fn draw(seen: &Seen, begin: u64, end: u64, marks: &[Mark]) -> String {
    let mut d = Drawing {
        svg: Svg::default(),
        begin,
        end: end.max(begin + 1),
    };
    let rows: Vec<_> = seen
        .rows
        .iter()
        .filter(|r| r.at >= begin && r.at <= end)
        .collect();

    // Memory.
    let most = APPS.iter().map(|a| a.total / M).max().unwrap_or(1);
    let most = (most + 16).next_multiple_of(32);
    let y = |bytes: u64| MEMORY.1 - (MEMORY.1 - MEMORY.0) * (bytes as f64 / M as f64) / most as f64;
    for m in (0..=most).step_by(32) {
        d.tick(y(m * M), &m.to_string());
    }
    for m in marks {
        d.mark(m);
    }
    let mut lines: Vec<(&str, &str, &str, Vec<u64>)> = vec![(
        "swap used",
        SWAP,
        r#"stroke-dasharray="6 4""#,
        rows.iter().map(|r| r.swap).collect(),
    )];
    for (i, a) in APPS.iter().enumerate() {
        let v = rows.iter().map(|r| r.resident[i]).collect();
        lines.push((a.name, COLOURS[i], "", v));
    }
    for (label, colour, dash, values) in &lines {
        let points: Vec<(f64, f64)> = rows
            .iter()
            .zip(values)
            .map(|(r, v)| (d.x(r.at), y(*v)))
            .collect();
        d.svg.path(
            &points,
            &format!(r#"fill="none" stroke="{colour}" stroke-width="2.2" {dash}"#),
        );
        if let Some((_, last)) = points.last() {
            d.name(*last, colour, dash, label);
        }
    }
    d.panel(
        MEMORY,
        "Resident GPU memory of each process, and swap used",
        "MiB",
        false,
    );

    // Latency, on a logarithmic scale.
    let mut bins = Vec::new();
    let mut at = begin;
    while at < end {
        let l = seen.latency(at, (at + BIN).min(end));
        if l.count > 0 {
            bins.push((d.x(at + BIN / 2), l));
        }
        at += BIN;
    }
    let ms = |us: u64| us.max(1) as f64 / 1000.0;
    let low = bins.iter().map(|(_, l)| l.p50).min().unwrap_or(100);
    let high = bins.iter().map(|(_, l)| l.max).max().unwrap_or(1000);
    let low = ms(low).log10().floor().min(-1.0);
    let high = ms(high).log10().ceil().max(1.0);
    let y = |us: u64| {
        let f = (ms(us).log10() - low) / (high - low);
        LATENCY.1 - (LATENCY.1 - LATENCY.0) * f.clamp(0.0, 1.0)
    };
    let mut e = low;
    while e <= high {
        let v = 10f64.powf(e);
        d.tick(y((v * 1000.0) as u64), &format!("{v}"));
        e += 1.0;
    }
    let longest: Vec<(f64, f64)> = bins.iter().map(|(x, l)| (*x, y(l.max))).collect();
    let median: Vec<(f64, f64)> = bins.iter().map(|(x, l)| (*x, y(l.p50))).collect();
    let mut area = longest.clone();
    area.extend(median.iter().rev());
    d.svg.path(
        &area,
        &format!(r#"fill="{LONGEST}" fill-opacity="0.12" stroke="none""#),
    );
    let mut below = 0.0;
    for (points, colour, label) in [(&longest, LONGEST, "longest"), (&median, MEDIAN, "median")] {
        d.svg.path(
            points,
            &format!(r#"fill="none" stroke="{colour}" stroke-width="1.6""#),
        );
        let at = points.last().map_or(LATENCY.1, |(_, y)| *y);
        // Close together, they would cover each other.
        let at = match label {
            "longest" => at.min(LATENCY.1 - 30.0),
            _ => at.max(below + 18.0),
        };
        below = at;
        d.name(at, colour, "", label);
    }
    d.panel(
        LATENCY,
        "open() + close() of the render node by a bystander, in each 0.1 s",
        "ms (logarithmic)",
        true,
    );
    d.svg.text(
        (LEFT + RIGHT) / 2.0,
        LATENCY.1 + 42.0,
        r#"text-anchor="middle""#,
        "time in s",
    );

    let title = "GPU memory of one process out of three, swapped out and back by its TGID";
    d.svg.finish(WIDTH, HEIGHT, (LEFT, 34.0, title))
}
