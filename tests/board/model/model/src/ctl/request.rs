// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Requests of the control socket and how they are written.

use crate::device::hang::{Hang, Work};
use crate::identity::AS_BLOCKS;
use crate::inject;
use crate::mmu::fault::Kind;

/// Largest `read`, `write` and `pmem`.
pub const MAX_BYTES: u64 = 1 << 20;
/// Largest `hash`, `fill` and `check`.
pub const MAX_BULK: u64 = 1 << 36;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// All registers.
    Regs,
    /// All address spaces.
    As,
    /// Translate without effect.
    Translate(usize, u64, Kind),
    /// Read bytes as the GPU.
    Read(usize, u64, u64),
    /// Write bytes as the GPU.
    Write(usize, u64, Vec<u8>),
    /// Hash memory as the GPU sees it.
    Hash(usize, u64, u64),
    /// Write a pattern as the GPU.
    Fill(usize, u64, u64, u64),
    /// Compare memory with a pattern as the GPU.
    Check(usize, u64, u64, u64),
    /// Print the instructions of a command stream, without effect.
    Stream(usize, u64, u64),
    /// Print the instructions of a shader, without effect.
    Shader(usize, u64, u64),
    /// Fetch an instruction.
    Exec(usize, u64),
    /// TLB entries of one or all address spaces.
    Tlb(Option<usize>),
    /// Count of violations.
    Violations,
    /// Forget violations.
    ViolationsClear,
    /// Last violations in words.
    ViolationsLog,
    /// Translate through tables at a physical address.
    Root(u64, u64, Kind),
    /// Read guest physical memory.
    Pmem(u64, u64),
    /// Counters.
    Counters,
    /// State of the microcontroller.
    Mcu,
    /// Something goes wrong.
    Inject(inject::Request),
    /// Something hangs from now on, or does not any more.
    Hang(Work, Hang),
}

/// Reads a number, hex with 0x or decimal.
fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("{text:.40} is not a number"))
}

fn space(text: &str) -> Result<usize, String> {
    match number(text)? {
        n if n < AS_BLOCKS as u64 => Ok(n as usize),
        n => Err(format!("no address space {n}")),
    }
}

fn kind(text: &str) -> Result<Kind, String> {
    match text {
        "r" => Ok(Kind::Read),
        "w" => Ok(Kind::Write),
        "x" => Ok(Kind::Execute),
        _ => Err(format!("{text:.40} is not r, w or x")),
    }
}

/// `on`, `off`, or for how many milliseconds the next one hangs, which only commands can.
fn hang(work: Work, text: &str) -> Result<Hang, String> {
    Ok(match text {
        "on" => Hang::Always,
        "off" => Hang::No,
        _ if work != Work::As => return Err(format!("{text:.40} is not on or off")),
        _ => Hang::Once(length(text, 60_000)? * 1_000_000),
    })
}

fn length(text: &str, max: u64) -> Result<u64, String> {
    match number(text)? {
        n if n <= max => Ok(n),
        n => Err(format!("{n:#x} is more than {max:#x}")),
    }
}

fn words(text: &str) -> Result<u64, String> {
    match length(text, MAX_BULK)? {
        n if n % 8 == 0 => Ok(n),
        n => Err(format!("{n:#x} is not a multiple of 8")),
    }
}

fn word_address(text: &str) -> Result<u64, String> {
    match number(text)? {
        n if n % 8 == 0 => Ok(n),
        n => Err(format!("{n:#x} is not a multiple of 8")),
    }
}

fn hex(text: &str) -> Result<Vec<u8>, String> {
    if text.len() % 2 != 0 || text.len() as u64 > 2 * MAX_BYTES {
        return Err(format!("{} hex digits", text.len()));
    }
    text.as_bytes()
        .chunks(2)
        .map(|pair| {
            let digit = |c: u8| char::from(c).to_digit(16);
            match (digit(pair[0]), digit(pair[1])) {
                (Some(high), Some(low)) => Ok(((high << 4) | low) as u8),
                _ => Err("not hex".to_string()),
            }
        })
        .collect()
}

impl Request {
    /// Reads a line.
    pub fn parse(line: &str) -> Result<Self, String> {
        let parts: Vec<&str> = line.split_ascii_whitespace().collect();
        Ok(match parts[..] {
            ["regs"] => Self::Regs,
            ["as"] => Self::As,
            ["translate", n, va] => Self::Translate(space(n)?, number(va)?, Kind::Read),
            ["translate", n, va, k] => Self::Translate(space(n)?, number(va)?, kind(k)?),
            ["read", n, va, len] => Self::Read(space(n)?, number(va)?, length(len, MAX_BYTES)?),
            ["write", n, va, bytes] => Self::Write(space(n)?, number(va)?, hex(bytes)?),
            ["hash", n, va, len] => Self::Hash(space(n)?, word_address(va)?, words(len)?),
            ["fill", n, va, len, seed] => {
                Self::Fill(space(n)?, word_address(va)?, words(len)?, number(seed)?)
            }
            ["check", n, va, len, seed] => {
                Self::Check(space(n)?, word_address(va)?, words(len)?, number(seed)?)
            }
            ["exec", n, va] => Self::Exec(space(n)?, number(va)?),
            [what @ ("stream" | "shader"), n, va, len] => {
                words(len)?;
                let len = length(len, super::stream::MAX_STREAM)?;
                let (n, va) = (space(n)?, word_address(va)?);
                match what {
                    "stream" => Self::Stream(n, va, len),
                    _ => Self::Shader(n, va, len),
                }
            }
            ["tlb"] => Self::Tlb(None),
            ["tlb", n] => Self::Tlb(Some(space(n)?)),
            ["violations"] => Self::Violations,
            ["violations", "clear"] => Self::ViolationsClear,
            ["violations", "log"] => Self::ViolationsLog,
            ["root", pa, va] => Self::Root(number(pa)?, number(va)?, Kind::Read),
            ["root", pa, va, k] => Self::Root(number(pa)?, number(va)?, kind(k)?),
            ["pmem", pa, len] => Self::Pmem(number(pa)?, length(len, MAX_BYTES)?),
            ["counters"] => Self::Counters,
            ["mcu"] => Self::Mcu,
            ["inject", ..] => Self::Inject(inject::Request::parse(&parts[1..])?),
            ["hang", what, how] => {
                let work = Work::of(what).ok_or_else(|| format!("{what:.40} cannot hang"))?;
                Self::Hang(work, hang(work, how)?)
            }
            [] => return Err("empty request".into()),
            [name, ..] => return Err(format!("{name:.40}: unknown request or wrong arguments")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_lines() {
        let parse = |line: &str| Request::parse(line).unwrap();
        assert_eq!(parse("  as \r\n"), Request::As);
        assert_eq!(
            parse("translate 1 0x1000 w"),
            Request::Translate(1, 0x1000, Kind::Write)
        );
        assert_eq!(parse("read 0 4096 0x10"), Request::Read(0, 4096, 16));
        assert_eq!(
            parse("write 7 0 00fF10"),
            Request::Write(7, 0, vec![0, 255, 16])
        );
        assert_eq!(
            parse("fill 2 8 64 0xffffffffffffffff"),
            Request::Fill(2, 8, 64, u64::MAX)
        );
        assert_eq!(parse("tlb"), Request::Tlb(None));
        assert_eq!(parse("violations clear"), Request::ViolationsClear);
        assert_eq!(
            parse("hang flush on"),
            Request::Hang(Work::Flush, Hang::Always)
        );
        assert_eq!(
            parse("hang as 5"),
            Request::Hang(Work::As, Hang::Once(5_000_000))
        );
    }

    #[test]
    fn garbage() {
        for line in [
            "",
            "\0\0",
            "regs now",
            "translate",
            "translate 16 0",
            "translate 1 -1",
            "translate 1 0x10000000000000000",
            "translate 1 0 q",
            "read 0 0 0x100001",
            "write 0 0 0",
            "write 0 0 zz",
            "write 0 0 \u{fffd}\u{fffd}",
            "hash 0 4 8",
            "stream 0 4 8",
            "stream 0 0 7",
            "stream 0 0 0x10008",
            "shader 0 0 7",
            "hash 0 0 7",
            "fill 0 0 8",
            "violations please",
            "hang",
            "hang mcu on",
            "hang flush 5",
            "hang as 60001",
        ] {
            assert!(Request::parse(line).is_err(), "{line:?}");
        }
    }
}
