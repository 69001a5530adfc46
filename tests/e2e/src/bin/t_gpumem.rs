// SPDX-License-Identifier: GPL-2.0 OR MIT
//! `gpumem` (tools/gpumem) with real processes: what it prints is so.

use e2e::cgroup::Cgroup;
use e2e::child::Child;
use e2e::ktap::only_rust;
use e2e::uapi::*;
use e2e::*;
use std::process::Command;

/// Bytes of a buffer, and of all that the process holds.
const BO: u64 = 4 * M;
const HELD: u64 = 32 * M;

/// The program's status and its two outputs.
fn gpumem(args: &str) -> Res<(i32, String, String)> {
    let out = Command::new("gpumem")
        .args(args.split_whitespace())
        .output()
        .map_err(|e| format!("gpumem: {e}"))?;

    Ok((
        out.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&out.stdout).into_owned(),
        String::from_utf8_lossy(&out.stderr).into_owned(),
    ))
}

/// The first number with this key after `from` in JSON.
fn number(json: &str, from: &str, key: &str) -> Res<u64> {
    let find = || {
        let rest = &json[json.find(from)?..];
        let rest = &rest[rest.find(&format!("\"{key}\":"))? + key.len() + 3..];
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        rest[..end].parse().ok()
    };

    Ok(find().ok_or_else(|| format!("no {key} after {from} in {json}"))?)
}

/// A process in the cgroup that holds [`HELD`] bytes, mapped in its VM, and has filled them.
fn held(g: &Cgroup) -> Res<Child> {
    let mut c = Child::holder()?;

    ok!(g.add(c.pid));
    c.call("vm")?;
    for i in 0..HELD / BO {
        let n = c.num(&format!("bo {BO} {BO_WB_MMAP} {} {}", i % 2, i + 1))?;
        c.call(&format!("bind 1 {n} {:#x}", (i + 1) << 32))?;
    }
    Ok(c)
}

fn check_all(c: &mut Child) -> Res {
    for i in 0..HELD / BO {
        c.call(&format!("check {i}"))?;
    }
    Ok(())
}

fn list() -> Res {
    only_rust("gpumem")?;
    let g = Cgroup::need("gpumem-list")?;
    let c = held(&g)?;
    let (status, json, why) = gpumem("--json list")?;
    let me = format!("\"tgid\":{},", c.pid);

    eq!((status, why.as_str()), (0, ""));
    check!(number(&json, &me, "total")? >= HELD);
    check!(number(&json, &me, "resident")? >= HELD);
    eq!(number(&json, "", "hidden")?, 0);
    check!(
        json.contains("\"cgroup\":\"/gpumem-list\""),
        "no such cgroup in {json}"
    );
    let (status, table, _) = gpumem("watch 0 2")?;
    eq!(status, 0);
    eq!(table.matches("TGID").count(), 2);
    check!(table.contains(&format!("{:>8}  ", c.pid)));
    Ok(())
}

/// Whatever the kernel can do by itself, in the end the memory is on swap; and it comes back.
fn out_and_in(what: impl Fn(&Child) -> String) -> Res {
    only_rust("gpumem")?;
    reclaim::need()?;
    let g = Cgroup::need("gpumem-out")?;
    let mut c = held(&g)?;
    let (status, json, _) = gpumem(&format!("--json reclaim {}", what(&c)))?;

    note!("{}", json.trim_end());
    eq!(status, 0);
    check!(c.resident()? <= HELD / 20);
    check!(
        g.swap()? >= HELD / 10 * 9,
        "the cgroup has {} bytes on swap",
        g.swap()?
    );
    check!(number(&json, "", "bytes")? >= HELD / 10 * 9);

    let (status, json, _) = gpumem(&format!("--json claim {}", what(&c)))?;
    eq!(status, 0);
    check!(number(&json, "", "bytes")? >= HELD / 10 * 9);
    check!(c.resident()? >= HELD);
    check_all(&mut c)
}

fn by_tgid() -> Res {
    out_and_in(|c| c.pid.to_string())
}

fn by_cgroup() -> Res {
    out_and_in(|_| "--cgroup /gpumem-out".into())
}

/// Once more asks for nothing: what the process has else stays.
fn twice() -> Res {
    only_rust("gpumem")?;
    reclaim::need()?;
    let g = Cgroup::need("gpumem-twice")?;
    let c = held(&g)?;

    eq!(gpumem(&format!("reclaim {}", c.pid))?.0, 0);
    let (status, json, _) = gpumem(&format!("--json reclaim {}", c.pid))?;
    eq!(status, 0);
    check!(number(&json, "", "bytes")? <= HELD / 10, "{json}");
    Ok(())
}

fn errors() -> Res {
    only_rust("gpumem")?;
    // The first process has no file of the GPU.
    for verb in ["reclaim", "claim"] {
        let (status, text, _) = gpumem(&format!("{verb} 1"))?;
        eq!(status, 1);
        check!(text.contains("ESRCH: There is no such process"), "{text}");
    }
    let (status, _, why) = gpumem("claim --cgroup /no-such-cgroup")?;
    eq!(status, 1);
    check!(why.contains("there is no cgroup"), "{why}");
    eq!(gpumem("claim")?.0, 2);
    Ok(())
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![limit 120;
        list,
        by_tgid,
        by_cgroup,
        twice,
        errors,
    ])
}
