// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Judges what was measured: `bench-report FOLDER [BASE]`. In the folder are `time.txt` and
//! `instructions.txt`, the output of `bench-guest`; pictures and `result.json` go there as well.
//! Exits with 0 if all targets are met.

use bench::data::Data;
use bench::judge::{self, Figure};
use bench::{chart, table};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::ExitCode;

/// The file that the next run can be compared with.
#[derive(Serialize, Deserialize)]
struct File {
    format: u32,
    figures: Vec<Figure>,
}

const FORMAT: u32 = 1;

fn report(folder: &Path, base: Option<&str>) -> Result<bool, String> {
    let read = |name: &str| {
        let path = folder.join(name);
        let text = std::fs::read_to_string(&path).map_err(|e| format!("{name}: {e}"))?;
        Data::parse(&text).map_err(|e| format!("{name}: {e}"))
    };
    let (time, instructions) = (read("time.txt")?, read("instructions.txt")?);
    let results = judge::judge(&time, &instructions)?;
    // Before anything is written: it may be the file of the last run.
    let then: Option<File> = base
        .map(|b| {
            let text = std::fs::read_to_string(b).map_err(|e| format!("{b}: {e}"))?;
            let f: File = serde_json::from_str(&text).map_err(|e| format!("{b}: {e}"))?;
            match f.format {
                FORMAT => Ok(f),
                n => Err(format!("{b}: format {n}, not {FORMAT}")),
            }
        })
        .transpose()?;

    let write = |name: &str, text: String| {
        std::fs::write(folder.join(name), text).map_err(|e| format!("{name}: {e}"))
    };
    write("calls.svg", chart::calls(&results))?;
    write("attributes.svg", chart::attributes(&time)?)?;
    write("growth.svg", chart::growth(&results.growth))?;
    println!("{}", table::calls(&results));
    println!("{}", table::others(&results));
    if let (Some(then), Some(base)) = (&then, base) {
        let v = judge::changes(&results.figures, &then.figures);
        println!("{}", table::changes(&v, base));
    }
    println!("{}", table::targets(&results));
    let (met, all) = judge::met(&results.figures);
    let file = File {
        format: FORMAT,
        figures: results.figures,
    };
    let json = serde_json::to_string_pretty(&file).map_err(|e| e.to_string())?;
    write("result.json", json + "\n")?;
    println!("{met} of {all} targets met");
    Ok(met == all)
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let r = match &args[..] {
        [folder] => report(Path::new(folder), None),
        [folder, base] => report(Path::new(folder), Some(base)),
        _ => Err("usage: bench-report FOLDER [BASE]".into()),
    };
    match r {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("bench-report: {e}");
            ExitCode::FAILURE
        }
    }
}
