// SPDX-License-Identifier: GPL-2.0 OR MIT

//! `mali-ctl --ctl SOCKET REQUEST...` sends one request to the model and prints its answer.
//! The exit status is 0 after `ok`, 1 after `err`, 2 when the model cannot be reached.
//! Without a request, lines are read from the standard input until its end.

#![forbid(unsafe_code)]

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

/// Sends a line and prints the answer. `Ok(false)` when the model said `err`.
fn ask(stream: &mut BufReader<UnixStream>, request: &str) -> io::Result<bool> {
    stream
        .get_mut()
        .write_all(format!("{request}\n").as_bytes())?;
    let mut out = io::stdout().lock();
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let text = line.trim_end();
        if text == "ok" {
            return Ok(true);
        }
        if text == "err" || text.starts_with("err ") {
            eprintln!("mali-ctl: {text}");
            return Ok(false);
        }
        writeln!(out, "{text}")?;
    }
}

fn run(path: &str, words: &[String]) -> io::Result<bool> {
    let mut stream = BufReader::new(UnixStream::connect(path)?);
    if !words.is_empty() {
        return ask(&mut stream, &words.join(" "));
    }
    let mut good = true;
    for line in io::stdin().lock().lines() {
        good &= ask(&mut stream, &line?)?;
    }
    Ok(good)
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (path, words) = match args.split_first() {
        Some((flag, rest)) if flag == "--ctl" && !rest.is_empty() => (&rest[0], &rest[1..]),
        _ => {
            eprintln!("usage: mali-ctl --ctl SOCKET [REQUEST...]");
            return ExitCode::from(2);
        }
    };
    match run(path, words) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(e) => {
            eprintln!("mali-ctl: {path}: {e}");
            ExitCode::from(2)
        }
    }
}
