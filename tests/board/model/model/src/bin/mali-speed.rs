// SPDX-License-Identifier: GPL-2.0 OR MIT

//! `mali-speed [SECONDS]`: how fast the model is on this machine.

#![forbid(unsafe_code)]

use mali_model::{cs, exec, shader};
use std::time::Duration;

fn main() {
    let seconds = std::env::args().nth(1);
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(2);
    let time = Duration::from_secs(seconds);
    for speed in cs::speed::measure(time) {
        let [clock, cpu] = [speed.rate / 1e6, speed.cpu_rate / 1e6];
        println!(
            "streams, {}: {clock:.1} M instructions a second, {cpu:.1} M of processor time",
            speed.what
        );
    }
    for speed in shader::speed::measure(time) {
        let [clock, cpu] = [speed.rate / 1e6, speed.cpu_rate / 1e6];
        println!(
            "shaders, {}: {clock:.1} M instructions of a thread a second, {cpu:.1} M of processor time",
            speed.what
        );
    }
    let speed = exec::speed::measure(time);
    println!(
        "register read: {:.0} ns on an idle board, {:.0} ns while a stream runs ({:.2} times); the stream: {:.1} M instructions a second",
        speed.read_idle,
        speed.read_busy,
        speed.read_busy / speed.read_idle,
        speed.rate / 1e6
    );
    println!(
        "idle board with a group in its slot: {:.2} % of a processor",
        100.0 * speed.idle_load
    );
}
