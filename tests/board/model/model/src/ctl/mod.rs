// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The control socket: one request a line, answered by lines and a last line `ok` or `err TEXT`.

pub mod answer;
pub mod bulk;
pub mod request;
mod stream;

use crate::shared::Shared;
use request::Request;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;

/// Longest line: a `write` of 1 MiB.
const MAX_LINE: u64 = (2 << 20) + 256;

/// Answers one line.
pub fn respond(shared: &Shared, line: &str, out: &mut dyn Write) -> io::Result<()> {
    let result = Request::parse(line).and_then(|request| answer::answer(shared, &request));
    match result {
        Ok(lines) => {
            out.write_all(lines.as_bytes())?;
            out.write_all(b"ok\n")
        }
        Err(text) => writeln!(out, "err {text}"),
    }
}

fn serve(shared: &Shared, stream: UnixStream) -> io::Result<()> {
    let mut out = BufWriter::new(stream.try_clone()?);
    let mut input = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if line.last() == Some(&b'\n') {
            respond(shared, &String::from_utf8_lossy(&line), &mut out)?;
        } else if line.len() as u64 == MAX_LINE {
            // Skip the rest of what can be no request.
            while line.last() != Some(&b'\n') {
                line.clear();
                if input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
                    return Ok(());
                }
            }
            writeln!(out, "err line too long")?;
        } else {
            return Ok(());
        }
        out.flush()?;
    }
}

/// Serves every connection in a thread of its own.
pub fn listen(shared: &Arc<Shared>, listener: &UnixListener) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            // Out of file descriptors, most likely.
            std::thread::sleep(std::time::Duration::from_millis(50));
            continue;
        };
        let shared = Arc::clone(shared);
        let _ = std::thread::Builder::new()
            .name("ctl".into())
            .spawn(move || serve(&shared, stream));
    }
}

#[cfg(test)]
mod tests;
