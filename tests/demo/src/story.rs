// SPDX-License-Identifier: GPL-2.0 OR MIT
//! What happens, in order.

use crate::apps;
use crate::chart::{self, Mark};
use crate::checks::Checks;
use crate::gpu::{Found, Side};
use crate::plan::{APPS, SIZE, TARGET};
use crate::sampler::{Row, Sampler};
use crate::screen::{mib, Screen};
use e2e::bystander::{now, Bystander};
use e2e::cgroup::Cgroup;
use e2e::child::Child;
use e2e::model::Model;
use e2e::sys::{self, say};
use e2e::{sysfs, Fail, Res, M};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// How long the figures are watched when nothing happens.
const QUIET: Duration = Duration::from_secs(3);

/// A call that moves memory: when, and what the kernel said.
struct Call {
    from: u64,
    to: u64,
    /// What `gpumem` printed, if it did it.
    result: sys::Result<String>,
}

impl Call {
    fn time(&self) -> u64 {
        self.to - self.from
    }

    fn ms(&self) -> String {
        format!("{} ms", self.time() / 1000)
    }
}

/// Moves memory in a thread while the table is shown.
fn call(
    screen: &Screen,
    sampler: &Sampler,
    pids: &[i32; 3],
    how: fn(i32) -> sys::Result<String>,
) -> Res<Call> {
    let pid = pids[TARGET];
    let t = std::thread::spawn(move || {
        let from = now();
        let result = how(pid);
        Call {
            from,
            to: now(),
            result,
        }
    });
    screen.live(sampler, pids, Duration::from_millis(200), || {
        // The table at the end shows what is true after the write has returned.
        t.is_finished() && sampler.fresh().is_ok()
    });
    let call = t
        .join()
        .map_err(|_| Fail::Fail("the writer panicked".into()))?;
    if let Ok(said) = &call.result {
        if !said.is_empty() {
            say(&format!("  {said}"));
        }
    }
    Ok(call)
}

/// Sends a command to all processes at once; their answers.
fn all(children: &mut [Child], cmd: &str) -> Res<Vec<String>> {
    for c in children.iter_mut() {
        c.send(cmd)?;
    }
    let mut v = Vec::new();
    for (c, a) in children.iter_mut().zip(&APPS) {
        match c.recv(Duration::from_secs(120))? {
            Ok(s) => v.push(s),
            Err(e) => return Err(Fail::Fail(format!("{}: {cmd}: {e}", a.name))),
        }
    }
    Ok(v)
}

/// Reads everything by the CPU; the bytes that were right.
fn verify(children: &mut [Child]) -> Res<u64> {
    all(children, "check").map(|v| v.iter().filter_map(|s| s.parse::<u64>().ok()).sum())
}

fn text(e: &Fail) -> &str {
    match e {
        Fail::Fail(m) | Fail::Skip(m) => m,
    }
}

fn count(checks: &mut Checks, r: &Res<u64>, want: u64, what: &str) {
    match r {
        Ok(n) => checks.add(
            *n == want,
            format!("{what}: {} of {} MiB right", n / M, want / M),
        ),
        Err(e) => checks.add(false, format!("{what}: {}", text(e))),
    }
}

/// How memory is moved. Where `mem_reclaim` swaps out by itself, by the attributes. Where it gives
/// memory up to the kernel, by `gpumem`, which has the kernel swap it out then; for that each process
/// has a cgroup of its own, as those that systemd starts have.
struct Way {
    reclaim: fn(i32) -> sys::Result<String>,
    claim: fn(i32) -> sys::Result<String>,
    evict: bool,
    _cgroups: Vec<Cgroup>,
}

impl Way {
    fn new(pids: &[i32; 3]) -> Res<Way> {
        let mode = sys::read_text(sysfs::attr("mem_reclaim_mode")?)?;
        let mut cgroups = Vec::new();
        let evict = mode.trim() == "evict";
        if evict {
            for (a, pid) in APPS.iter().zip(pids) {
                let c = Cgroup::need(a.name)?;
                c.add(*pid)?;
                cgroups.push(c);
            }
        }
        Ok(Way {
            reclaim: if evict {
                |pid| gpumem("reclaim", pid)
            } else {
                |pid| sysfs::reclaim(pid).map(|()| String::new())
            },
            claim: if evict {
                |pid| gpumem("claim", pid)
            } else {
                |pid| sysfs::claim(pid).map(|()| String::new())
            },
            evict,
            _cgroups: cgroups,
        })
    }

    /// What is done, as one types it.
    fn command(&self, verb: &str, pid: i32) -> String {
        if self.evict {
            format!("gpumem {verb} {pid}")
        } else {
            format!("echo {pid} >mem_{verb}")
        }
    }

    /// What is done, for a sentence.
    fn name(&self, verb: &str) -> String {
        format!("{}{verb}", if self.evict { "gpumem " } else { "mem_" })
    }
}

fn gpumem(verb: &str, pid: i32) -> sys::Result<String> {
    let out = Command::new("gpumem")
        .args([verb, &pid.to_string()])
        .output()?;
    let said = String::from_utf8_lossy(&out.stdout);
    if out.status.success() {
        Ok(said.trim_end().replace('\n', "\n  "))
    } else {
        say(&format!("{said}{}", String::from_utf8_lossy(&out.stderr)));
        Err(sys::EIO)
    }
}

fn percent(part: u64, whole: u64) -> String {
    format!("{:.1} %", part as f64 * 100.0 / whole.max(1) as f64)
}

/// Tells the story; whether all checks held.
pub fn tell(redraw: bool, folder: &Path) -> Res<bool> {
    let mut checks = Checks::default();
    let screen = Screen::new(redraw);
    let target = &APPS[TARGET];
    let name = target.name;
    let total: u64 = APPS.iter().map(|a| a.total).sum();

    // Processes first: nothing may be forked once there are threads.
    let mut children = Vec::new();
    for a in &APPS {
        children.push(apps::start(a)?);
    }
    let bystander = Bystander::start()?;
    let pids = [children[0].pid, children[1].pid, children[2].pid];

    let way = Way::new(&pids)?;
    say(&format!(
        "Three processes, {} MiB of GPU memory, on a board with 1 GiB and zram swap; mem_reclaim_mode: {}",
        total / M,
        if way.evict { "evict" } else { "swap" }
    ));
    let start = now();
    all(&mut children, "setup")?;
    let mut model = Model::need()?;
    let side = Side::new(&pids, &mut model)?;
    all(
        &mut children,
        if side.is_some() { "fill" } else { "fill all" },
    )?;
    let mapped: u64 = APPS
        .iter()
        .flat_map(|a| a.buffers())
        .map(|b| b.vms().len() as u64 * SIZE)
        .sum();
    say(&format!(
        "Each has 2 VMs; 4 MiB buffers: 3 in 8 private to VM 1, 2 to VM 2, 2 shared by both, 1 only CPU-mapped.\n\
         All filled with words mix(seed + i), by the CPU{}; half of them so that they compress ({:.1} s).",
        if side.is_some() { " or the GPU" } else { "" },
        (now() - start) as f64 / 1e6
    ));
    let fds = all(&mut children, "fd")?;
    let fd = |i: usize| -> Res<(i32, i32)> {
        let n = fds[i]
            .parse()
            .map_err(|_| Fail::Fail("no descriptor".into()))?;
        Ok((pids[i], n))
    };
    let cpu = verify(&mut children);
    count(&mut checks, &cpu, total, "before, read by the CPU");
    if let Some(s) = &side {
        let gpu = s.verify(&mut model);
        count(&mut checks, &gpu, mapped, "before, read by the GPU");
    } else {
        say("This module has no switches for tests, so that of the GPU's page tables nothing is shown.");
    }
    // Only the page cache: asked for more, the kernel would have the GPU's memory evicted as well.
    sys::write_once("/proc/sys/vm/drop_caches", b"1")?;

    // --- At rest ---
    let sampler = Sampler::start([fd(0)?, fd(1)?, fd(2)?], bystander);
    sampler.fresh()?;
    let begin = now();
    screen.heading("All three are in memory; the bystander opens and closes the render node");
    screen.wait(&sampler, &pids, QUIET);
    let look = |model: &mut Model, what: &str| {
        side.as_ref().map_or(Ok(None), |s| {
            say(&format!("  What the GPU finds {what}:"));
            s.look(model).map(Some)
        })
    };
    let gpu0 = look(
        &mut model,
        "(asked of the model, through its TLBs and page walk)",
    )?;
    let before = sampler.fresh()?;

    // --- Out ---
    screen.heading(&format!(
        "{}    # {name}",
        way.command("reclaim", pids[TARGET])
    ));
    let out = call(&screen, &sampler, &pids, way.reclaim)?;
    let after = sampler.fresh()?;
    let swapped = after.swap.saturating_sub(before.swap);
    let zram = after.zram.saturating_sub(before.zram);
    let freed = after.free as i64 - before.free as i64;
    say(&format!(
        "  It took {} ({}). On swap: {} of {} MiB; zram grew by {} MiB, free memory by {:.1} MiB",
        out.ms(),
        match &out.result {
            Ok(_) => "no error".to_string(),
            Err(e) => e.to_string(),
        },
        mib(swapped),
        target.total / M,
        mib(zram),
        freed as f64 / M as f64
    ));
    let gpu1 = look(&mut model, "now")?;
    screen.heading(&format!("{name} is in the background"));
    screen.wait(&sampler, &pids, QUIET);
    let rest = sampler.fresh()?;

    // --- Back ---
    screen.heading(&format!(
        "{}      # {name}",
        way.command("claim", pids[TARGET])
    ));
    let back = call(&screen, &sampler, &pids, way.claim)?;
    let again = sampler.fresh()?;
    say(&format!(
        "  It took {} ({})",
        back.ms(),
        match &back.result {
            Ok(_) => "no error".to_string(),
            Err(e) => e.to_string(),
        }
    ));
    let gpu2 = look(&mut model, "now")?;
    screen.heading(&format!("{name} is back"));
    screen.wait(&sampler, &pids, QUIET);
    let seen = sampler.stop()?;
    let end = seen.last().at;

    // --- What it comes to ---
    screen.heading("Reading every byte");
    let cpu = verify(&mut children);
    let gpu = side.as_ref().map(|s| s.verify(&mut model));
    if let Some(s) = &side {
        s.release()?;
    }
    let violations = model.violations()?;

    let lat_idle = seen.latency(begin, out.from);
    let lat_out = seen.latency(out.from, out.to);
    let lat_back = seen.latency(back.from, back.to);
    say(&format!("  bystander at rest:         {lat_idle}"));
    say(&format!("  bystander during reclaim:  {lat_out}"));
    say(&format!("  bystander during claim:    {lat_back}"));

    let others = |f: &dyn Fn(usize) -> bool| (0..APPS.len()).filter(|i| *i != TARGET).all(f);
    let kept = |rows: &[Row]| {
        rows.iter()
            .filter(|r| r.at >= begin)
            .all(|r| others(&|i| r.resident[i] == APPS[i].total))
    };
    checks.result(
        out.result.map(|_| ()),
        &format!("{} answered without an error", way.name("reclaim")),
    );
    checks.add(
        before.resident[TARGET] == target.total && after.resident[TARGET] == 0,
        format!(
            "{name} resident: {} MiB before, {} MiB when {} returned",
            mib(before.resident[TARGET]),
            mib(after.resident[TARGET]),
            way.name("reclaim")
        ),
    );
    checks.add(
        swapped * 100 >= target.total * 98,
        format!(
            "SwapTotal - SwapFree grew by {} of what it has",
            percent(swapped, target.total)
        ),
    );
    let given = (freed + zram as i64).max(0) as u64;
    // The checkers of the other kernels need memory for what they know of pages.
    let fast = std::env::var("PANTHOR_KERNEL").is_ok_and(|k| k == "fast");
    checks.add(
        given * 100 >= target.total * if fast { 95 } else { 80 },
        format!(
            "free memory and zram grew by {} of what it has",
            percent(given, target.total)
        ),
    );
    checks.add(
        rest.resident[TARGET] == 0,
        format!("{name} stays out of memory until it is claimed"),
    );
    checks.add(
        kept(&seen.rows),
        format!(
            "the two others were all resident in each of {} samples",
            seen.rows.len()
        ),
    );
    let every = |f: &Found| (0..APPS.len()).all(|i| f.full(i));
    if let Some(f) = gpu0 {
        checks.add(
            every(&f),
            "GPU, before: all translations of all three are there",
        );
    }
    if let Some(f) = gpu1 {
        checks.add(
            f.none(TARGET),
            format!(
                "GPU, reclaimed: {} of {} translations of {name} left",
                f.found[TARGET].mapped, f.found[TARGET].asked
            ),
        );
        checks.add(
            others(&|i| f.full(i)),
            "GPU, reclaimed: all translations of the others are there",
        );
    }
    checks.result(
        back.result.map(|_| ()),
        &format!("{} answered without an error", way.name("claim")),
    );
    checks.add(
        again.resident[TARGET] == target.total,
        format!(
            "{name} resident: {} MiB when {} returned",
            mib(again.resident[TARGET]),
            way.name("claim")
        ),
    );
    checks.add(
        again.swap <= before.swap + target.total / 50,
        format!(
            "its swap space is free again: {} MiB used, {} MiB before",
            mib(again.swap),
            mib(before.swap)
        ),
    );
    if let Some(f) = gpu2 {
        checks.add(
            every(&f),
            "GPU, claimed: all translations of all three are there",
        );
    }
    count(
        &mut checks,
        &cpu,
        total,
        "after, every byte read by the CPU",
    );
    if let Some(gpu) = gpu {
        count(
            &mut checks,
            &gpu,
            mapped,
            "after, every mapping read by the GPU",
        );
    }
    for (call, l, what) in [
        (&out, &lat_out, way.name("reclaim")),
        (&back, &lat_back, way.name("claim")),
    ] {
        checks.add(
            // One that has to wait begins soon after the call; others are held up by a busy machine.
            l.count > 0 && l.max * 5 < call.time() * 4,
            format!(
                "no open waited for {what}: longest {:.1} ms of its {}",
                l.max as f64 / 1000.0,
                call.ms()
            ),
        );
    }
    checks.add(
        violations.total == 0,
        format!(
            "the model counted {} violations {}",
            violations.total,
            violations.lines.join(", ")
        )
        .trim_end(),
    );

    let write = |file: &str, s: String| {
        std::fs::write(folder.join(file), s).map_err(|e| Fail::Fail(format!("{file}: {e}")))
    };
    write("figures.csv", seen.figures_csv(begin))?;
    write("opens.csv", seen.opens_csv(begin))?;
    let marks = [
        Mark::new(&way.name("reclaim"), name, out.from, out.to),
        Mark::new(&way.name("claim"), name, back.from, back.to),
    ];
    write("demo.svg", chart::draw(&seen, begin, end, &marks))?;

    for (mut c, a) in children.into_iter().zip(&APPS) {
        let status = c.end()?;
        checks.add(
            status == 0,
            format!("{} ended with status {status}", a.name),
        );
    }
    Ok(checks.verdict())
}
