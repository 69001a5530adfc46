// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Pictures as SVG.

use std::fmt::Write as _;

/// A picture that is being drawn.
#[derive(Default)]
pub struct Svg(String);

impl Svg {
    /// A line; `style` is more attributes.
    pub fn line(&mut self, x1: f64, y1: f64, x2: f64, y2: f64, style: &str) {
        let _ = writeln!(
            self.0,
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" {style}/>"#
        );
    }

    /// Text.
    pub fn text(&mut self, x: f64, y: f64, style: &str, text: &str) {
        let _ = writeln!(
            self.0,
            r#"<text x="{x:.1}" y="{y:.1}" {style}>{text}</text>"#
        );
    }

    /// Text that runs upwards, its middle at a point.
    pub fn upright(&mut self, x: f64, y: f64, text: &str) {
        self.text(
            x,
            y,
            &format!(r#"text-anchor="middle" transform="rotate(-90 {x} {y})""#),
            text,
        );
    }

    /// A line through points.
    pub fn path(&mut self, points: &[(f64, f64)], style: &str) {
        let mut d = String::new();
        for (i, (x, y)) in points.iter().enumerate() {
            let _ = write!(d, "{}{x:.1} {y:.1}", if i == 0 { "M" } else { "L" });
        }
        let _ = writeln!(self.0, r#"<path d="{d}" {style}/>"#);
    }

    /// A rectangle.
    pub fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, style: &str) {
        let _ = writeln!(
            self.0,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" {style}/>"#
        );
    }

    /// A dot.
    pub fn dot(&mut self, x: f64, y: f64, colour: &str) {
        let _ = writeln!(
            self.0,
            r#"<circle cx="{x:.1}" cy="{y:.1}" r="3.5" fill="{colour}"/>"#
        );
    }

    /// The file, with a title.
    pub fn finish(self, width: f64, height: f64, title: (f64, f64, &str)) -> String {
        let (x, y, title) = title;
        format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13" fill="#222">
<rect width="{width}" height="{height}" fill="#fff"/>
<text x="{x}" y="{y}" font-size="18" font-weight="bold">{title}</text>
{}</svg>
"##,
            self.0
        )
    }
}
