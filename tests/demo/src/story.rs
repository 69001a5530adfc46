// SPDX-License-Identifier: GPL-2.0 OR MIT
//! What happens, in order.

use crate::chart::{self, Mark};
use crate::checks::Checks;
use crate::gpu::View;
use crate::plan::{APPS, SIZE, TARGET};
use crate::sampler::{Row, Sampler};
use crate::screen::{mib, Screen};
use crate::{apps, gpu};
use e2e::bystander::{now, Bystander};
use e2e::child::Child;
use e2e::debugfs::VmResident;
use e2e::model::Model;
use e2e::sys::{self, say};
use e2e::{sysfs, Fail, Res, M};
use std::path::Path;
use std::time::Duration;

/// How long the figures are watched when nothing happens.
const QUIET: Duration = Duration::from_secs(3);

/// A write to an attribute: when, and what the kernel said.
struct Call {
    from: u64,
    to: u64,
    result: sys::Result<()>,
}

impl Call {
    fn time(&self) -> u64 {
        self.to - self.from
    }

    fn ms(&self) -> String {
        format!("{} ms", self.time() / 1000)
    }
}

/// Writes an attribute in a thread while the table is shown.
fn call(
    screen: &Screen,
    sampler: &Sampler,
    pids: &[i32; 3],
    write: fn(i32) -> sys::Result<()>,
) -> Res<Call> {
    let pid = pids[TARGET];
    let t = std::thread::spawn(move || {
        let from = now();
        let result = write(pid);
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
    t.join()
        .map_err(|_| Fail::Fail("the writer panicked".into()))
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

/// Reads everything, by the CPU and through the GPU; the bytes that were right.
fn verify(children: &mut [Child], views: &[View<'_>], model: &mut Model) -> (Res<u64>, Res<u64>) {
    let cpu = all(children, "check").map(|v| v.iter().filter_map(|s| s.parse::<u64>().ok()).sum());
    let mut sum = 0;
    let gpu = views
        .iter()
        .try_for_each(|v| {
            sum += v.check(model)?;
            Ok(())
        })
        .map(|()| sum);
    (cpu, gpu)
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

fn show_translations(
    views: &[View<'_>],
    model: &mut Model,
) -> Res<([gpu::Translations; 3], [bool; 3])> {
    let mut t = Vec::new();
    let mut seated = Vec::new();
    for (a, v) in APPS.iter().zip(views) {
        let x = v.translations(model)?;
        let s = v.is_seated(model)?;
        say(&format!(
            "  {:<8} {}: {x}{}",
            a.name,
            v.slots(),
            if s { "" } else { " (not its tables!)" }
        ));
        t.push(x);
        seated.push(s);
    }
    match (t.try_into(), seated.try_into()) {
        (Ok(t), Ok(s)) => Ok((t, s)),
        _ => Err(Fail::Fail("not three processes".into())),
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

    let mode = sys::read_text(sysfs::attr("mem_reclaim_mode")?)?;
    say(&format!(
        "Three processes, {} MiB of GPU memory, on a board with 1 GiB and zram swap; mem_reclaim_mode: {}",
        total / M,
        mode.trim()
    ));
    let start = now();
    all(&mut children, "setup")?;
    let switch = VmResident::need()?;
    let mut model = Model::need()?;
    let mut views = Vec::new();
    for (a, pid) in APPS.iter().zip(pids) {
        views.push(View::new(a, pid, &switch)?);
    }
    for v in &views {
        v.fill(&mut model)?;
    }
    all(&mut children, "fill")?;
    let mapped: u64 = APPS
        .iter()
        .flat_map(|a| a.buffers())
        .map(|b| b.vms().len() as u64 * SIZE)
        .sum();
    say(&format!(
        "Each has 2 VMs; 4 MiB buffers: 3 in 8 private to VM 1, 2 to VM 2, 2 shared by both, 1 only CPU-mapped.\n\
         All filled with words mix(seed + i), by the CPU or the GPU; half of them so that they compress ({:.1} s).",
        (now() - start) as f64 / 1e6
    ));
    let fds = all(&mut children, "fd")?;
    let fd = |i: usize| -> Res<(i32, i32)> {
        let n = fds[i]
            .parse()
            .map_err(|_| Fail::Fail("no descriptor".into()))?;
        Ok((pids[i], n))
    };
    let (cpu, gpu) = verify(&mut children, &views, &mut model);
    count(&mut checks, &cpu, total, "before, read by the CPU");
    count(&mut checks, &gpu, mapped, "before, read by the GPU");
    // Only the page cache: asked for more, the kernel would have the GPU's memory evicted as well.
    sys::write_once("/proc/sys/vm/drop_caches", b"1")?;

    // --- At rest ---
    let sampler = Sampler::start([fd(0)?, fd(1)?, fd(2)?], bystander);
    sampler.fresh()?;
    let begin = now();
    screen.heading("All three are in memory; the bystander opens and closes the render node");
    screen.wait(&sampler, &pids, QUIET);
    say("  What the GPU finds (asked of the model, through its TLBs and page walk):");
    let (t0, s0) = show_translations(&views, &mut model)?;
    let before = sampler.fresh()?;

    // --- Out ---
    screen.heading(&format!("echo {} >mem_reclaim    # {name}", pids[TARGET]));
    let out = call(&screen, &sampler, &pids, sysfs::reclaim)?;
    let after = sampler.fresh()?;
    let swapped = after.swap.saturating_sub(before.swap);
    let zram = after.zram.saturating_sub(before.zram);
    let freed = after.free as i64 - before.free as i64;
    say(&format!(
        "  It took {} ({}). On swap: {} of {} MiB; zram grew by {} MiB, free memory by {:.1} MiB",
        out.ms(),
        match &out.result {
            Ok(()) => "no error".to_string(),
            Err(e) => e.to_string(),
        },
        mib(swapped),
        target.total / M,
        mib(zram),
        freed as f64 / M as f64
    ));
    say("  What the GPU finds now:");
    let (t1, s1) = show_translations(&views, &mut model)?;
    screen.heading(&format!("{name} is in the background"));
    screen.wait(&sampler, &pids, QUIET);
    let rest = sampler.fresh()?;

    // --- Back ---
    screen.heading(&format!("echo {} >mem_claim      # {name}", pids[TARGET]));
    let back = call(&screen, &sampler, &pids, sysfs::claim)?;
    let again = sampler.fresh()?;
    say(&format!(
        "  It took {} ({})",
        back.ms(),
        match &back.result {
            Ok(()) => "no error".to_string(),
            Err(e) => e.to_string(),
        }
    ));
    say("  What the GPU finds now:");
    let (t2, s2) = show_translations(&views, &mut model)?;
    screen.heading(&format!("{name} is back"));
    screen.wait(&sampler, &pids, QUIET);
    let seen = sampler.stop()?;
    let end = seen.last().at;

    // --- What it comes to ---
    screen.heading("Reading every byte, by the CPU and by the GPU");
    let (cpu, gpu) = verify(&mut children, &views, &mut model);
    for v in &views {
        v.release(&switch)?;
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
    checks.result(out.result, "mem_reclaim answered without an error");
    checks.add(
        before.resident[TARGET] == target.total && after.resident[TARGET] == 0,
        format!(
            "{name} resident: {} MiB before, {} MiB when mem_reclaim returned",
            mib(before.resident[TARGET]),
            mib(after.resident[TARGET])
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
    let full = |t: &gpu::Translations| t.mapped == t.asked;
    checks.add(
        t0.iter().all(full) && s0.iter().all(|s| *s),
        "GPU, before: all translations of all three are there",
    );
    checks.add(
        t1[TARGET].mapped == 0 && s1[TARGET],
        format!(
            "GPU, reclaimed: {} of {} translations of {name} left",
            t1[TARGET].mapped, t1[TARGET].asked
        ),
    );
    checks.add(
        others(&|i| full(&t1[i]) && s1[i]),
        "GPU, reclaimed: all translations of the others are there",
    );
    checks.result(back.result, "mem_claim answered without an error");
    checks.add(
        again.resident[TARGET] == target.total,
        format!(
            "{name} resident: {} MiB when mem_claim returned",
            mib(again.resident[TARGET])
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
    checks.add(
        t2.iter().all(full) && s2.iter().all(|s| *s),
        "GPU, claimed: all translations of all three are there",
    );
    count(
        &mut checks,
        &cpu,
        total,
        "after, every byte read by the CPU",
    );
    count(
        &mut checks,
        &gpu,
        mapped,
        "after, every mapping read by the GPU",
    );
    for (call, l, what) in [
        (&out, &lat_out, "mem_reclaim"),
        (&back, &lat_back, "mem_claim"),
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
        Mark::new("mem_reclaim", name, out.from, out.to),
        Mark::new("mem_claim", name, back.from, back.to),
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
