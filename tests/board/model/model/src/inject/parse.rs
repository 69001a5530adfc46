// SPDX-License-Identifier: GPL-2.0 OR MIT

//! How requests for faults are written.

use super::{Request, Rule, What};
use crate::irq::Line;

/// Longest time that can be asked for, in microseconds.
const MAX_US: u64 = 60_000_000;

fn number(text: &str, most: u64) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    match parsed {
        Ok(n) if n <= most => Ok(n),
        _ => Err(format!("{text:.40} is not a number up to {most:#x}")),
    }
}

fn place(text: &str) -> Result<Option<usize>, String> {
    match text {
        "any" => Ok(None),
        _ => Ok(Some(number(text, 31)? as usize)),
    }
}

fn line(text: &str) -> Result<Line, String> {
    Ok(match text {
        "job" => Line::Job,
        "mmu" => Line::Mmu,
        "gpu" => Line::Gpu,
        _ => return Err(format!("{text:.40} is not job, mmu or gpu")),
    })
}

impl Request {
    /// Reads the words after `inject`.
    pub fn parse(words: &[&str]) -> Result<Self, String> {
        let (once, words) = match words.split_last() {
            Some((&"once", rest)) => (true, rest),
            Some((&"always", rest)) => (false, rest),
            _ => (true, words),
        };
        let rule = |what, group, stream| {
            Ok(Self::Add(Rule {
                what,
                group,
                stream,
                once,
            }))
        };
        let code = |text: &str| Ok::<u8, String>(number(text, 0xff)? as u8);
        let bits = |text: &str| Ok::<u32, String>(number(text, u64::from(u32::MAX))? as u32);
        let us = |text: &str| Ok::<u64, String>(number(text, MAX_US)? * 1000);
        match *words {
            ["list"] => Ok(Self::List),
            ["clear"] => Ok(Self::Clear),
            ["mcu", "dead"] => Ok(Self::McuDead),
            ["mcu", "panic"] => Ok(Self::McuPanic),
            ["irq", "spurious", l] => Ok(Self::Spurious(line(l)?)),
            ["irq", "lost", l] => rule(What::IrqLost(line(l)?), None, None),
            ["irq", "late", l, t] => rule(What::IrqLate(line(l)?, us(t)?), None, None),
            ["no-ack", "global", b] => rule(What::NoGlobalAck(bits(b)?), None, None),
            ["no-ack", g, b] => rule(What::NoAck(bits(b)?), place(g)?, None),
            ["no-start", g] => rule(What::NoStart, place(g)?, None),
            ["no-suspend", g] => rule(What::NoSuspend, place(g)?, None),
            ["no-terminate", g] => rule(What::NoTerminate, place(g)?, None),
            ["corrupt-suspend", g] => rule(What::CorruptSuspend, place(g)?, None),
            ["progress", g] => rule(What::Progress, place(g)?, None),
            ["cs-fault", c, g, s] => rule(What::CsFault(code(c)?), place(g)?, place(s)?),
            ["cs-fatal", c, g, s] => rule(What::CsFatal(code(c)?), place(g)?, place(s)?),
            ["mmu", va, g, s] => rule(What::Mmu(number(va, u64::MAX)?), place(g)?, place(s)?),
            ["hang", g, s] => rule(What::Hang, place(g)?, place(s)?),
            ["slow", t, g, s] => rule(What::Slow(us(t)?), place(g)?, place(s)?),
            _ => Err("inject: unknown fault or wrong arguments".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Request, String> {
        Request::parse(&line.split_whitespace().collect::<Vec<_>>())
    }

    #[test]
    fn good_and_bad() {
        assert_eq!(
            parse("cs-fault 0x58 any 2 always"),
            Ok(Request::Add(Rule {
                what: What::CsFault(0x58),
                group: None,
                stream: Some(2),
                once: false,
            }))
        );
        assert_eq!(parse("mcu dead"), Ok(Request::McuDead));
        let Ok(Request::Add(rule)) = parse("irq late job 500") else {
            panic!("no rule");
        };
        assert!(rule.once);
        assert_eq!(rule.what, What::IrqLate(Line::Job, 500_000));
        for line in [
            "",
            "once",
            "cs-fault 256 0 0",
            "cs-fault 1 32 0",
            "hang 0",
            "irq lost x",
            "no-ack global 0x100000000",
            "slow 60000001 0 0",
            "mcu",
        ] {
            assert!(parse(line).is_err(), "{line:?}");
        }
    }
}
