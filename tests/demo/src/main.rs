// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The main job of the driver, shown: GPU memory of one process out of three is swapped out and
//! brought back by its TGID, while a bystander opens and closes the render node all the time.
//!
//!     demo [--redraw] FOLDER
//!
//! Figures and a picture go to FOLDER. With `--redraw` the table is drawn in place. Exits with 0
//! if all checks held.

mod apps;
mod chart;
mod checks;
mod gpu;
mod plan;
mod sampler;
mod screen;
mod story;

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut redraw = false;
    let mut folder = None;
    for a in std::env::args().skip(1) {
        match a.as_str() {
            "--redraw" => redraw = true,
            _ => folder = Some(PathBuf::from(a)),
        }
    }
    let Some(folder) = folder else {
        eprintln!("usage: demo [--redraw] FOLDER");
        return ExitCode::from(2);
    };
    match story::tell(redraw, &folder) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e2e::Fail::Fail(m) | e2e::Fail::Skip(m)) => {
            eprintln!("demo: {m}");
            ExitCode::FAILURE
        }
    }
}
