// SPDX-License-Identifier: GPL-2.0 OR MIT

//! `mali-speed [SECONDS]`: how fast the model is on this machine.

#![forbid(unsafe_code)]

use mali_model::{cs, exec, shader};
use std::time::Duration;

/// Prints figures of a kind.
fn print(unit: &str, place: &str, speeds: &[cs::speed::Speed]) {
    for speed in speeds {
        let [clock, cpu] = [speed.rate / 1e6, speed.cpu_rate / 1e6];
        println!(
            "{unit}, {place}, {}: {clock:.1} M a second, {cpu:.1} M of processor time",
            speed.what
        );
    }
}

fn main() {
    let seconds = std::env::args().nth(1);
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(2);
    let time = Duration::from_secs(seconds);
    let (stream, shader) = ("instructions of a stream", "instructions of a thread");
    print(stream, "plain memory", &cs::speed::measure(time));
    print(shader, "plain memory", &shader::speed::measure(time));
    let speed = exec::speed::measure(time);
    print(stream, "board", &speed.streams);
    print(shader, "board", &speed.shaders);
    let (idle, busy) = (speed.read_idle, speed.read_busy);
    println!(
        "register read, idle board: median {:.0} ns, mean {:.0} ns",
        idle.median, idle.mean
    );
    println!(
        "register read while a stream and a shader run: median {:.0} ns ({:.2} times), mean {:.0} ns ({:.2} times)",
        busy.median,
        busy.median / idle.median,
        busy.mean,
        busy.mean / idle.mean
    );
    println!(
        "idle board with groups in their slots: {:.2} % of a processor",
        100.0 * speed.idle_load
    );
}
