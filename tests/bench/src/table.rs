// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The figures as text.

use crate::judge::{Change, Figure, Ratio, Results, Target};
use std::fmt::Write as _;

/// A number with about four digits.
pub fn short(v: f64) -> String {
    match v.abs() {
        a if a >= 1e9 => format!("{:.3}e9", v / 1e9),
        a if a >= 1000.0 => {
            let digits = format!("{v:.0}");
            let n = digits.len();
            digits
                .chars()
                .enumerate()
                .flat_map(|(i, c)| {
                    let comma = i > 0 && (n - i) % 3 == 0 && digits.as_bytes()[i - 1] != b'-';
                    comma.then_some(',').into_iter().chain([c])
                })
                .collect()
        }
        a if a >= 100.0 => format!("{v:.0}"),
        a if a >= 10.0 => format!("{v:.1}"),
        _ => format!("{v:.3}"),
    }
}

fn ratio(r: &Ratio, unit: f64) -> String {
    format!(
        "{:>10} {:>10}  {:.2} ({:.2} - {:.2})  {:.2}",
        short(r.rust.mid / unit),
        short(r.c.mid / unit),
        r.ratio.mid,
        r.ratio.low,
        r.ratio.high,
        r.floor
    )
}

/// The calls.
pub fn calls(r: &Results) -> String {
    let column = format!(
        "{:>10} {:>10}  {:<18}{:>6}",
        "Rust", "C", "Rust/C (98 %)", "noise"
    );
    let mut s = format!(
        "{:<18}{:<48}{}\n{:<17} {column} {column}\n",
        "Calls", "instructions", "us", ""
    );
    for c in &r.calls {
        let _ = writeln!(
            s,
            "{:<17} {} {}",
            c.name,
            ratio(&c.instructions, 1.0),
            ratio(&c.time, 1000.0)
        );
    }
    s
}

fn value(f: &Figure) -> String {
    if f.low == f.high {
        format!("{} {}", short(f.value), f.unit)
    } else {
        let (v, l, h) = (short(f.value), short(f.low), short(f.high));
        format!("{v} {} ({l} - {h})", f.unit)
    }
}

/// Those that explain the others, but for the calls, which have a table.
pub fn others(r: &Results) -> String {
    r.figures
        .iter()
        .filter(|f| f.target.is_none() && f.group != "calls")
        .fold(String::from("Other figures\n"), |mut s, f| {
            let _ = writeln!(s, "          {}: {}", f.name, value(f));
            s
        })
}

/// Those that have a target.
pub fn targets(r: &Results) -> String {
    let mut s = String::from("Targets\n");
    for f in &r.figures {
        let (Some(t), Some(met)) = (f.target, f.met) else {
            continue;
        };
        let _ = writeln!(
            s,
            "  {}  {}: {}; {}{}",
            if met { "ok     " } else { "NOT MET" },
            f.name,
            value(f),
            match t {
                Target::Most(t) => format!("at most {}", short(t)),
                Target::Least(t) => format!("at least {}", short(t)),
            },
            f.why.as_ref().map_or(String::new(), |w| format!(" ({w})"))
        );
    }
    s
}

/// What changed.
pub fn changes(v: &[Change<'_>], base: &str) -> String {
    let mut s = format!(
        "Beyond the noise, {} figures are not as in {base}\n",
        v.len()
    );
    for c in v {
        let _ = writeln!(
            s,
            "  {:+6.1} %  {}: {}, was {}",
            (c.now.value / c.then.value - 1.0) * 100.0,
            c.now.name,
            value(c.now),
            value(c.then)
        );
    }
    s
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let v: Vec<String> = [0.98765, 12.34, 123.4, 1234.0, 1234567.0, -1234.0]
            .map(short)
            .into();
        assert_eq!(v, ["0.988", "12.3", "123", "1,234", "1,234,567", "-1,234"]);
    }
}
