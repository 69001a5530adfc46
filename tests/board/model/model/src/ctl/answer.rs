// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Answers to the requests.

use super::bulk::{error_text, fnv_word, for_each, mix, FNV_START};
use super::request::Request;
use crate::counters::Counter;
use crate::device::Gpu;
use crate::identity::AS_BLOCKS;
use crate::mmu::access::Source;
use crate::mmu::aspace::Mode;
use crate::mmu::fault::{Fault, Kind};
use crate::mmu::walk::{walk, Config, Leaf};
use crate::shared::Shared;
use std::fmt::Write;

/// Bytes in a line of hex.
const HEX_LINE: usize = 32;

/// Carries out a request; the lines of the answer, or what to say after `err`.
pub fn answer(shared: &Shared, request: &Request) -> Result<String, String> {
    match request {
        Request::Regs => Ok(shared.inspect(|gpu| regs(gpu))),
        Request::As => Ok(shared.inspect(|gpu| spaces(gpu))),
        Request::Translate(n, va, kind) => Ok(shared.inspect(|gpu| {
            let result = gpu.mmu.peek(&gpu.env, *n, *va, *kind);
            translation(*va, result)
        })),
        Request::Root(pa, va, kind) => Ok(shared.inspect(|gpu| {
            let id = &gpu.env.identity;
            let config = Config::of_root(*pa & !0xfff, id.va_bits, id.pa_bits);
            let leaf = walk(&gpu.env.ram, &config, *va)
                .and_then(|leaf| leaf.check(*kind).map(|()| (leaf, Source::Walk)));
            translation(*va, leaf)
        })),
        Request::Read(n, va, len) => read(shared, *n, *va, *len),
        Request::Write(n, va, bytes) => {
            for_each(
                shared,
                *n,
                (*va, bytes.len() as u64),
                Kind::Write,
                |gpu, pa, at, len| {
                    let at = at as usize;
                    gpu.env.ram.write(pa, &bytes[at..at + len]).is_some()
                },
            )?;
            Ok(String::new())
        }
        Request::Hash(n, va, len) => {
            let mut hash = FNV_START;
            for_each(shared, *n, (*va, *len), Kind::Read, |gpu, pa, _, len| {
                let step = |word| {
                    hash = fnv_word(hash, word);
                    true
                };
                gpu.env.ram.words(pa, len / 8, step).is_some()
            })?;
            Ok(format!("hash {hash:#018x}\n"))
        }
        Request::Fill(n, va, len, seed) => {
            for_each(shared, *n, (*va, *len), Kind::Write, |gpu, pa, at, len| {
                let mut i = at / 8;
                let next = || {
                    let word = mix(seed.wrapping_add(i));
                    i += 1;
                    word
                };
                gpu.env.ram.fill(pa, len / 8, next).is_some()
            })?;
            Ok(String::new())
        }
        Request::Check(n, va, len, seed) => check(shared, *n, (*va, *len), *seed),
        Request::Stream(n, va, len) => {
            shared.inspect(|gpu| super::stream::stream(gpu, *n, *va, *len))
        }
        Request::Shader(n, va, len) => {
            shared.inspect(|gpu| super::stream::shader(gpu, *n, *va, *len))
        }
        Request::Exec(n, va) => shared.inspect(|gpu| {
            gpu.mmu
                .access(&mut gpu.env, *n, *va, Kind::Execute)
                .map(|_| String::new())
                .map_err(error_text)
        }),
        Request::Tlb(n) => Ok(shared.inspect(|gpu| tlb(gpu, *n))),
        Request::Violations => Ok(shared.inspect(|gpu| {
            gpu.mmu.audit(&mut gpu.env);
            let mut out = String::new();
            for (kind, count) in gpu.env.violations.iter() {
                let _ = writeln!(out, "{count} {}", kind.name());
            }
            let _ = writeln!(out, "total {}", gpu.env.violations.total());
            out
        })),
        Request::ViolationsClear => {
            shared.inspect(|gpu| {
                gpu.mmu.audit(&mut gpu.env);
                gpu.env.violations.clear();
            });
            Ok(String::new())
        }
        Request::ViolationsLog => Ok(shared.inspect(|gpu| {
            gpu.mmu.audit(&mut gpu.env);
            let mut out = String::new();
            for line in gpu.env.violations.log() {
                let _ = writeln!(out, "{line}");
            }
            out
        })),
        Request::Pmem(pa, len) => {
            let mut data = vec![0; *len as usize];
            shared
                .inspect(|gpu| gpu.env.ram.read(*pa, &mut data))
                .ok_or("outside memory")?;
            Ok(hex_lines(&data))
        }
        Request::Counters => Ok(shared.inspect(|gpu| {
            let mut out = String::new();
            for counter in Counter::ALL {
                let _ = writeln!(out, "{} {}", gpu.env.counters.get(*counter), counter.name());
            }
            for (name, count, first) in gpu.env.odd.iter() {
                let _ = writeln!(out, "{count} {name} {first}");
            }
            out
        })),
        Request::Mcu => Ok(shared.inspect(|gpu| {
            format!("mcu {:?} status {}\n", gpu.mcu.state(), gpu.mcu.status()).to_lowercase()
        })),
        Request::Inject(request) => Ok(shared.inspect(|gpu| gpu.inject(*request))),
        Request::Hang(work, hang) => {
            shared.inspect(|gpu| gpu.hang(*work, *hang));
            Ok(String::new())
        }
    }
}

fn regs(gpu: &Gpu) -> String {
    let mut out = String::new();
    for (name, offset, value) in gpu.dump() {
        let _ = writeln!(out, "{name} {offset:#07x} {value:#x}");
    }
    out
}

fn mode_name(mode: Mode) -> String {
    match mode {
        Mode::Unmapped => "unmapped".into(),
        Mode::Identity => "identity".into(),
        Mode::Aarch64Page4k => "aarch64-4k".into(),
        Mode::Aarch64Page64k => "aarch64-64k".into(),
        Mode::Unknown(n) => format!("mode-{n}"),
    }
}

fn spaces(gpu: &Gpu) -> String {
    let mut out = String::new();
    for n in 0..AS_BLOCKS {
        let Some(space) = gpu.mmu.space(&gpu.env, n) else {
            continue;
        };
        // An AS that was never given a table, or lost it by a reset, is as good as unmapped.
        let mode = if space.enabled() {
            space.regs.mode()
        } else {
            Mode::Unmapped
        };
        let _ = write!(
            out,
            "as {n} {} {:#x} {:#x} {:#x} {:#x}",
            mode_name(mode),
            space.regs.transtab,
            space.regs.memattr,
            space.regs.transcfg,
            u32::from(space.busy(&gpu.env)),
        );
        for region in space.lock_regions() {
            let _ = write!(out, " locked {:#x} {:#x}", region.first, region.size());
        }
        out.push('\n');
    }
    out
}

fn flags(leaf: &Leaf) -> String {
    format!(
        "{},{}",
        if leaf.read_only { "ro" } else { "rw" },
        if leaf.no_exec { "nx" } else { "x" }
    )
}

fn translation(va: u64, result: Result<(Leaf, Source), Fault>) -> String {
    match result {
        Ok((leaf, source)) => format!(
            "pa {:#x} size {:#x} attr {} flags {} source {}\n",
            leaf.pa + (va - leaf.va),
            leaf.size,
            leaf.attr,
            flags(&leaf),
            match source {
                Source::Tlb => "tlb",
                Source::Walk => "walk",
            }
        ),
        Err(fault) => format!("fault {:#x} {}\n", fault.code(), fault.level),
    }
}

fn hex_lines(data: &[u8]) -> String {
    let mut out = String::with_capacity(data.len() * 2 + data.len() / HEX_LINE + 1);
    for line in data.chunks(HEX_LINE) {
        for byte in line {
            let _ = write!(out, "{byte:02x}");
        }
        out.push('\n');
    }
    out
}

fn read(shared: &Shared, n: usize, va: u64, len: u64) -> Result<String, String> {
    let mut data = vec![0; len as usize];
    for_each(shared, n, (va, len), Kind::Read, |gpu, pa, at, len| {
        let at = at as usize;
        gpu.env.ram.read(pa, &mut data[at..at + len]).is_some()
    })?;
    Ok(hex_lines(&data))
}

fn check(shared: &Shared, n: usize, range: (u64, u64), seed: u64) -> Result<String, String> {
    let mut bad = None;
    for_each(shared, n, range, Kind::Read, |gpu, pa, at, len| {
        let mut i = at / 8;
        let step = |got| {
            let want = mix(seed.wrapping_add(i));
            if got != want {
                bad = Some((i * 8, got, want));
                return false;
            }
            i += 1;
            true
        };
        gpu.env.ram.words(pa, len / 8, step).is_some() && bad.is_none()
    })?;
    Ok(match bad {
        None => "good\n".into(),
        Some((offset, got, want)) => format!("bad {offset:#x} {got:#x} {want:#x}\n"),
    })
}

fn tlb(gpu: &Gpu, n: Option<usize>) -> String {
    let mut out = String::new();
    for i in (0..AS_BLOCKS).filter(|i| n.is_none_or(|n| n == *i)) {
        let Some(space) = gpu.mmu.space(&gpu.env, i) else {
            continue;
        };
        for entry in space.tlb.iter() {
            let leaf = &entry.leaf;
            let _ = writeln!(
                out,
                "as {i} va {:#x} pa {:#x} size {:#x} attr {} flags {}",
                leaf.va,
                leaf.pa,
                leaf.size,
                leaf.attr,
                flags(leaf)
            );
        }
    }
    out
}
