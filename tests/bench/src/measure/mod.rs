// SPDX-License-Identifier: GPL-2.0 OR MIT
//! What measures, in the guest. Every figure is a line on standard output; `crate::data`
//! reads them.

pub mod calls;
pub mod clock;
pub mod drivers;
pub mod reclaim;
pub mod target;

use e2e::sys::say;
use std::io::Write;

/// Prints values of a figure.
fn values(name: &str, v: &[f64]) {
    let v: Vec<String> = v.iter().map(|x| format!("{x:.6}")).collect();
    say(&format!("value {name} {}", v.join(" ")));
}

/// Says how far it is, in one write.
fn progress(s: &str) {
    let _ = std::io::stderr().write_all(format!("{s}\n").as_bytes());
}
