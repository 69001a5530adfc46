// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Counts what QEMU executes, by function and by kind: `bench-profile RUN KALLSYMS [WITH]`; see `profile`.

use bench::insn::{Kind, KINDS};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

type Res<T> = Result<T, Box<dyn std::error::Error>>;

/// What QEMU is asked to log, so that each instruction is a line; before the first time it is executed,
/// another one says what it is.
const ON: &str = "one-insn-per-tb on\nlogfile /board/exec.log\nlog exec,nochain,in_asm\n";
const OFF: &str = "log none\n";

/// The functions of the guest's kernel.
struct Symbols(BTreeMap<u64, String>);

impl Symbols {
    fn parse(text: &str) -> Symbols {
        Symbols(
            text.lines()
                .filter_map(|l| {
                    let mut w = l.split_whitespace();
                    let at = u64::from_str_radix(w.next()?, 16).ok()?;
                    let kind = w.next()?;
                    let name = w.next()?;
                    // Names that begin with $ mark code and data in an object file.
                    (kind.eq_ignore_ascii_case("t") && !name.starts_with('$'))
                        .then(|| (at, format!("{:#}", rustc_demangle::demangle(name))))
                })
                .collect(),
        )
    }

    fn name(&self, pc: u64) -> (&str, bool) {
        match self.0.range(..=pc).next_back() {
            _ if pc >> 48 == 0 => ("(user space)", false),
            Some((at, name)) => (name, *at == pc),
            None => ("(unknown)", false),
        }
    }
}

/// The address in a line of the log: `Trace 0: 0x7f.. [flags/address/...]`.
fn address(line: &str) -> Option<u64> {
    let rest = line.strip_prefix("Trace ")?.split_once('[')?.1;
    u64::from_str_radix(rest.split('/').nth(1)?, 16).ok()
}

/// An instruction in the log: `0xffff800080012345:  d503233f  paciasp`.
fn opcode(line: &str) -> Option<(u64, u32)> {
    let (at, rest) = line.trim_start().strip_prefix("0x")?.split_once(':')?;
    let word = rest.split_whitespace().next()?;
    Some((
        u64::from_str_radix(at, 16).ok()?,
        u32::from_str_radix(word, 16).ok()?,
    ))
}

/// What one or several system calls executed.
#[derive(Default)]
struct Counts<'a> {
    /// Instructions and entries, by function.
    functions: HashMap<&'a str, (u64, u64)>,
    /// Instructions, by kind.
    kinds: HashMap<Kind, u64>,
    /// Pages of code that they are in, of one call; and the sum of their numbers, of several.
    pages: HashSet<u64>,
    page_count: usize,
}

impl Counts<'_> {
    /// Moves all from another one to this.
    fn take(&mut self, other: &mut Self) {
        for (n, (a, b)) in other.functions.drain() {
            let e = self.functions.entry(n).or_default();
            (e.0, e.1) = (e.0 + a, e.1 + b);
        }
        self.page_count += other.pages.drain().count();
        for (k, n) in other.kinds.drain() {
            *self.kinds.entry(k).or_default() += n;
        }
    }
}

/// Puts together the system calls that enter `with`.
fn count<'a>(symbols: &'a Symbols, log: impl BufRead, with: &str) -> (usize, Counts<'a>) {
    let mut sum = Counts::default();
    let mut one = Counts::default();
    let mut calls = 0;
    let mut whole = false;
    let mut opcodes = HashMap::new();
    // The instruction before, which is known when the next one is: a branch may be taken or not.
    let mut last: Option<u64> = None;
    for line in log.lines().map_while(Result::ok) {
        let Some(pc) = address(&line) else {
            opcodes.extend(opcode(&line));
            continue;
        };
        if let Some(last) = last.replace(pc) {
            let kind = Kind::of(opcodes.get(&last).copied(), last, pc);
            *one.kinds.entry(kind).or_default() += 1;
        }
        let (name, entry) = symbols.name(pc);
        if entry && name == "el0t_64_sync_handler" {
            // What was logged before the first one is a part of a call.
            if whole && (with.is_empty() || one.functions.keys().any(|n| n.contains(with))) {
                calls += 1;
                sum.take(&mut one);
            }
            one = Counts::default();
            whole = true;
        }
        one.pages.insert(pc >> 12);
        let e = one.functions.entry(name).or_default();
        (e.0, e.1) = (e.0 + 1, e.1 + u64::from(entry));
    }
    (calls, sum)
}

fn wait_for(what: &str, mut f: impl FnMut() -> bool) -> Res<()> {
    let end = Instant::now() + Duration::from_secs(240);
    while !f() {
        if Instant::now() > end {
            return Err(format!("no {what}").into());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

fn log(run: &Path) -> Res<()> {
    let mut monitor = UnixStream::connect(run.join("monitor"))?;
    monitor.set_read_timeout(Some(Duration::from_secs(1)))?;
    monitor.write_all(ON.as_bytes())?;
    std::thread::sleep(Duration::from_secs(2));
    monitor.write_all(OFF.as_bytes())?;
    // Its answers: all is done when there are no more of them.
    let mut answers = Vec::new();
    let _ = monitor.read_to_end(&mut answers);
    Ok(())
}

fn main() -> Res<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [run, kallsyms, with] = &args[..] else {
        return Err("usage: bench-profile RUN KALLSYMS WITH".into());
    };
    let (run, kallsyms) = (Path::new(run), Path::new(kallsyms));
    wait_for("symbols of the guest", || kallsyms.exists())?;
    // The loop has begun by then.
    std::thread::sleep(Duration::from_secs(4));
    log(run)?;
    let symbols = Symbols::parse(&std::fs::read_to_string(kallsyms)?);
    let file = BufReader::new(File::open(run.join("exec.log"))?);
    let (calls, sum) = count(&symbols, file, with);
    if calls == 0 {
        return Err("no such system call was seen".into());
    }
    let n = calls as f64;
    let all: u64 = sum.functions.values().map(|v| v.0).sum();
    println!(
        "{:.1} instructions in each of {calls} system calls",
        all as f64 / n
    );
    println!(
        "{:.1} pages of code, of 4 KiB each",
        sum.page_count as f64 / n
    );
    println!("{:>9}  kind", "executed");
    for kind in KINDS {
        let of = sum.kinds.get(&kind).copied().unwrap_or(0);
        println!("{:9.1}  {}", of as f64 / n, kind.text());
    }
    println!("{:>9} {:>7}  function", "executed", "entries");
    let mut rows: Vec<_> = sum.functions.into_iter().collect();
    rows.sort_by_key(|(name, (a, _))| (std::cmp::Reverse(*a), *name));
    for (name, (a, b)) in rows {
        if a as f64 / n >= 5.0 {
            println!("{:9.1} {:7.2}  {name}", a as f64 / n, b as f64 / n);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_calls_are_counted() {
        let s = Symbols::parse(
            "ffff800000001000 t el0t_64_sync_handler\nffff800000002000 T f\nffff800000002000 t $x\nffff800000003000 t g",
        );
        let trace = |a: u64| {
            format!("Trace 0: 0x7f0000 [00000000/ffff80000000{a:04x}/00000011/ff000000] x\n")
        };
        let log = [0x2000u64, 0x1000, 0x2000, 0x2004, 0x1000, 0x3000, 0x1000]
            .map(trace)
            .concat();
        let (n, sum) = count(&s, log.as_bytes(), "");
        assert_eq!(
            (n, sum.functions["f"], sum.functions["g"]),
            (2, (2, 1), (1, 1))
        );
        let (n, sum) = count(&s, log.as_bytes(), "f");
        assert_eq!(
            (n, sum.functions["f"], sum.functions.get("g")),
            (1, (2, 1), None)
        );
    }

    #[test]
    fn kinds_are_counted() {
        let s = Symbols::parse("ffff800000001000 t el0t_64_sync_handler");
        let log = "0xffff800000001000:  d65f03c0  ret\n\
            Trace 0: 0x7f0000 [0/ffff800000001000/0/0] x\n\
            0xffff800000002000:  aa0003e0  mov x0, x0\n\
            Trace 0: 0x7f0000 [0/ffff800000002000/0/0] x\n\
            Trace 0: 0x7f0000 [0/ffff800000001000/0/0] x\n";
        let (n, sum) = count(&s, log.as_bytes(), "");
        assert_eq!(n, 1);
        assert_eq!(sum.kinds[&Kind::Indirect], 1);
        assert_eq!(sum.kinds[&Kind::Other], 1);
        assert_eq!(sum.page_count, 2);
    }

    #[test]
    fn user_space_has_no_symbols() {
        assert_eq!(Symbols::parse("").name(0x40_0000).0, "(user space)");
    }
}
