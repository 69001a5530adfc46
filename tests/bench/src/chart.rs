// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The figures as pictures.

use crate::data::Data;
use crate::judge::{Growth, Results};
use crate::stats::{percentile, Spread};
use crate::table::short;
use e2e::svg::Svg;

const BLUE: &str = "#0072b2";
const ORANGE: &str = "#d55e00";
const GREY: &str = "#555555";
const END: &str = r#"text-anchor="end""#;
const MIDDLE: &str = r#"text-anchor="middle""#;

/// A panel with logarithmic or linear axes.
struct Axes {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    x: (f64, f64),
    y: (f64, f64),
}

impl Axes {
    /// The place of a point whose coordinates are on the scales of the axes.
    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let f = |v: f64, (low, high): (f64, f64)| (v - low) / (high - low);
        (
            self.left + (self.right - self.left) * f(x, self.x),
            self.bottom - (self.bottom - self.top) * f(y, self.y),
        )
    }

    fn frame(&self, s: &mut Svg, title: &str) {
        s.text(self.left, self.top - 10.0, r#"font-weight="bold""#, title);
        s.rect(
            self.left,
            self.top,
            self.right - self.left,
            self.bottom - self.top,
            r##"fill="none" stroke="#333""##,
        );
    }
}

fn stroke(colour: &str) -> String {
    format!(r#"fill="none" stroke="{colour}" stroke-width="2""#)
}

/// Rust over C, for each call.
pub fn calls(r: &Results) -> String {
    let mut s = Svg::default();
    let highest = r
        .calls
        .iter()
        .flat_map(|c| [c.instructions.ratio.mid, c.time.ratio.high.min(2.5)])
        .fold(1.5, f64::max);
    let height = 100.0 + 34.0 * r.calls.len() as f64;
    let a = Axes {
        left: 170.0,
        right: 930.0,
        top: 70.0,
        bottom: height - 30.0,
        x: (0.0, (highest * 4.0).ceil() / 4.0),
        y: (r.calls.len() as f64, 0.0),
    };
    let mut tick = 0.0;
    while tick <= a.x.1 {
        let (x, _) = a.at(tick, 0.0);
        let colour = if tick == 1.0 { "#333" } else { "#ddd" };
        s.line(x, a.top, x, a.bottom, &format!(r#"stroke="{colour}""#));
        s.text(x, a.bottom + 18.0, MIDDLE, &format!("{tick:.2}"));
        tick += 0.25;
    }
    for (i, c) in r.calls.iter().enumerate() {
        let row = i as f64 + 0.5;
        let (_, y) = a.at(0.0, row);
        s.text(a.left - 8.0, y + 4.0, END, c.name);
        for (ratio, dy, colour) in [(&c.instructions, -8.0, BLUE), (&c.time, 8.0, ORANGE)] {
            let x = |v: f64| a.at(v.min(a.x.1), row).0;
            let bar = format!(r#"fill="{colour}" fill-opacity="0.35""#);
            s.rect(
                a.left,
                y + dy - 6.0,
                x(ratio.ratio.mid) - a.left,
                12.0,
                &bar,
            );
            s.line(
                x(ratio.ratio.low),
                y + dy,
                x(ratio.ratio.high),
                y + dy,
                &stroke(colour),
            );
            s.text(
                a.right + 4.0,
                y + dy + 4.0,
                &format!(r#"fill="{colour}""#),
                &format!("{:.2}", ratio.ratio.mid),
            );
        }
    }
    a.frame(
        &mut s,
        "Below 1: Rust needs less. Line: where it is in 98 of 100 runs",
    );
    s.text(740.0, 60.0, &format!(r#"fill="{BLUE}""#), "instructions");
    s.text(840.0, 60.0, &format!(r#"fill="{ORANGE}""#), "time");
    let title = "A call in the Rust driver over the same call in the C driver";
    s.finish(980.0, height, (a.left, 32.0, title))
}

/// Speed of the attributes, and latency of opens by others.
pub fn attributes(time: &Data) -> Result<String, String> {
    let mut s = Svg::default();
    let mut bars = Vec::new();
    for (key, label, colour) in [
        ("mem_reclaim", "mem_reclaim", BLUE),
        ("pageout", "MADV_PAGEOUT", GREY),
        ("mem_claim", "mem_claim", BLUE),
        ("populate", "MADV_POPULATE_READ", GREY),
    ] {
        let v: Vec<f64> = time
            .values(key)?
            .iter()
            .map(|ns| 1e9 / ns / (1 << 20) as f64)
            .collect();
        bars.push((label, colour, Spread::of(&v)));
    }
    let most = bars.iter().map(|b| b.2.high).fold(1.0, f64::max);
    let a = Axes {
        left: 80.0,
        right: 450.0,
        top: 80.0,
        bottom: 380.0,
        x: (0.0, 4.0),
        y: (0.0, most * 1.1),
    };
    for (i, (label, colour, v)) in bars.iter().enumerate() {
        let (x, y) = a.at(i as f64 + 0.5, v.mid);
        let bar = format!(r#"fill="{colour}" fill-opacity="0.5""#);
        s.rect(x - 30.0, y, 60.0, a.bottom - y, &bar);
        s.line(
            x,
            a.at(0.0, v.low).1,
            x,
            a.at(0.0, v.high).1,
            &stroke(colour),
        );
        s.text(
            x,
            a.bottom + 18.0,
            &format!(r#"{MIDDLE} font-size="10""#),
            label,
        );
        s.text(x + 6.0, y - 4.0, "", &short(v.mid));
    }
    a.frame(&mut s, "Speed, MiB/s; line: spread");

    // Share of opens that took longer than x.
    let a = Axes {
        left: 540.0,
        right: 930.0,
        top: 80.0,
        bottom: 380.0,
        x: (2.0, 5.0),
        y: (-4.0, 0.0),
    };
    for e in 2..=5 {
        let (x, _) = a.at(f64::from(e), 0.0);
        s.line(x, a.top, x, a.bottom, r##"stroke="#ddd""##);
        s.text(
            x,
            a.bottom + 18.0,
            MIDDLE,
            &format!("{}", 10f64.powi(e) / 1000.0),
        );
    }
    for e in -4..=0 {
        let (_, y) = a.at(2.0, f64::from(e));
        s.line(a.left, y, a.right, y, r##"stroke="#ddd""##);
        s.text(
            a.left - 6.0,
            y + 4.0,
            END,
            &format!("{} %", 10f64.powi(e + 2)),
        );
    }
    for (i, (key, label, colour)) in [
        ("open_idle", "idle", GREY),
        ("open_reclaim", "during mem_reclaim", BLUE),
        ("open_pageout", "during MADV_PAGEOUT", ORANGE),
    ]
    .into_iter()
    .enumerate()
    {
        let v = time.values(key)?;
        let points: Vec<(f64, f64)> = (0..=200)
            .map(|i| 10f64.powf(-4.0 * f64::from(i) / 200.0))
            .filter(|share| share * v.len() as f64 >= 1.0)
            .map(|share| {
                let took = percentile(v, 100.0 - 100.0 * share);
                a.at(took.log10().clamp(2.0, 5.0), share.log10())
            })
            .collect();
        s.path(&points, &stroke(colour));
        let y = a.top + 20.0 + 18.0 * i as f64;
        let style = format!(r#"fill="{colour}" {END}"#);
        s.text(
            a.right - 8.0,
            y,
            &style,
            &format!("{label}: {} opens", v.len()),
        );
    }
    a.frame(&mut s, "Opens by others that take longer than ... ms");
    let title = "256 MiB of GPU memory to swap and back, and the same in a memfd";
    Ok(s.finish(980.0, 420.0, (80.0, 36.0, title)))
}

/// Over the number of buffers, and of processes.
pub fn growth(all: &[Growth]) -> String {
    let mut s = Svg::default();
    for (column, over) in ["buffers", "processes"].into_iter().enumerate() {
        for (row, instructions) in [true, false].into_iter().enumerate() {
            let mine: Vec<&Growth> = all
                .iter()
                .filter(|g| g.over == over && g.instructions == instructions)
                .collect();
            let spreads = || mine.iter().flat_map(|g| g.points.iter());
            let most = spreads().map(|p| p.1.high).fold(0.001, f64::max);
            let many = spreads().map(|p| p.0).fold(1.0, f64::max);
            let left = 80.0 + 470.0 * column as f64;
            let top = 80.0 + 320.0 * row as f64;
            let a = Axes {
                left,
                right: left + 380.0,
                top,
                bottom: top + 230.0,
                x: (0.0, many * 1.02),
                y: (0.0, most * 1.1),
            };
            for i in 0..=5 {
                let v = many * f64::from(i) / 5.0;
                let (x, _) = a.at(v, 0.0);
                s.line(x, a.bottom, x, a.bottom + 5.0, r##"stroke="#333""##);
                s.text(x, a.bottom + 20.0, MIDDLE, &format!("{v:.0}"));
                let v = most * f64::from(i) / 5.0;
                let (_, y) = a.at(0.0, v);
                s.line(a.left, y, a.right, y, r##"stroke="#ddd""##);
                s.text(a.left - 6.0, y + 4.0, END, &format!("{v:.2}"));
            }
            for g in mine {
                let colour = if g.what == "reclaim" { BLUE } else { ORANGE };
                let points: Vec<(f64, f64)> = g.points.iter().map(|p| a.at(p.0, p.1.mid)).collect();
                s.path(&points, &stroke(colour));
                for p in &g.points {
                    let (x, y) = a.at(p.0, p.1.mid);
                    s.dot(x, y, colour);
                    s.line(
                        x,
                        a.at(0.0, p.1.low).1,
                        x,
                        a.at(0.0, p.1.high).1,
                        &format!(r#"stroke="{colour}""#),
                    );
                }
                if let Some((_, y)) = points.last() {
                    let style = format!(r#"fill="{colour}" {END}"#);
                    // Below its line, so that two labels do not meet.
                    let dy = if g.what == "claim" { 20.0 } else { -10.0 };
                    s.text(a.right - 10.0, y + dy, &style, &format!("mem_{}", g.what));
                }
            }
            let unit = if instructions {
                "10⁹ instructions"
            } else {
                "time in s"
            };
            let what = match over {
                "buffers" => "80 MiB in so many buffers",
                _ => "32 MiB, device open in so many processes",
            };
            a.frame(&mut s, &format!("{what}: {unit}"));
        }
    }
    let title = "mem_reclaim and mem_claim over the number of buffers and of processes";
    s.finish(980.0, 700.0, (80.0, 36.0, title))
}
