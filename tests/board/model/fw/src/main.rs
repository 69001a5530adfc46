// SPDX-License-Identifier: GPL-2.0 OR MIT

//! `mali-fw FILE` writes the free firmware image; `mali-fw --show FILE` lists one.

#![forbid(unsafe_code)]

use mali_fw::{image::Image, payload};
use std::process::ExitCode;

fn run(args: &[String]) -> Result<(), String> {
    match args {
        [path] if !path.starts_with('-') => {
            let bytes = payload::image().to_bytes();
            std::fs::write(path, bytes).map_err(|e| format!("{path}: {e}"))
        }
        [flag, path] if flag == "--show" => {
            let bytes = std::fs::read(path).map_err(|e| format!("{path}: {e}"))?;
            let image = Image::parse(&bytes).map_err(|e| format!("{path}: {e:?}"))?;
            println!("hash {:#x}", image.version_hash);
            if let Some(info) = &image.build_info {
                println!("info {info}");
            }
            for s in &image.sections {
                println!(
                    "section {:#010x}..{:#010x} flags {:#010x} data {:#x} {}",
                    s.va,
                    s.va + s.size,
                    s.flags,
                    s.data.len(),
                    s.name
                );
            }
            Ok(())
        }
        _ => Err("usage: mali-fw FILE | mali-fw --show FILE".into()),
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("mali-fw: {text}");
            ExitCode::FAILURE
        }
    }
}
