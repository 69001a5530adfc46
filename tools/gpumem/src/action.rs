// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Memory out and in.
//!
//! Where `mem_reclaim` only gives memory up (mode `evict`), it is the kernel's after that, in the
//! cgroup of the process, and `memory.reclaim` of that one swaps it out.

use crate::{
    args::{Target, Verb},
    errno::{Asked, Failure},
    proc::{self, Memory, Process},
    system::{Device, Mode, System, CGROUPS},
};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    io,
    path::Path,
    time::{Duration, Instant},
};

/// How often a cgroup is asked: the kernel may take other memory of the cgroup's for a part of it.
const ROUNDS: u32 = 4;

/// What came of it for a process.
#[derive(Debug, Serialize)]
pub struct OfProcess {
    /// Its TGID.
    pub tgid: u32,
    /// Its name, if its files could be seen.
    pub command: Option<String>,
    /// What it had before.
    pub before: Option<Memory>,
    /// What it has now.
    pub after: Option<Memory>,
    /// The first error.
    pub error: Option<Failure>,
}

/// What came of it for a cgroup, in mode `evict`.
#[derive(Debug, Serialize)]
pub struct OfCgroup {
    /// Its path.
    pub cgroup: String,
    /// Bytes that had been given up and were still in memory.
    pub asked: u64,
    /// How many of them are not any more.
    pub freed: u64,
    /// The last error.
    pub error: Option<Failure>,
}

/// What came of a command.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// Whether memory was to come or to go.
    #[serde(skip)]
    pub verb: Verb,
    /// What the driver's part in it is.
    pub mode: Mode,
    /// For each process.
    pub processes: Vec<OfProcess>,
    /// For each cgroup that was asked to swap out.
    pub cgroups: Vec<OfCgroup>,
    /// Bytes of memory that came free, or that are in memory again.
    pub bytes: u64,
    /// How long all of it took.
    #[serde(rename = "milliseconds", serialize_with = "milliseconds")]
    pub took: Duration,
}

fn milliseconds<S: serde::Serializer>(took: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(u64::try_from(took.as_millis()).unwrap_or(u64::MAX))
}

impl Outcome {
    /// Whether all of it was possible.
    pub fn complete(&self) -> bool {
        self.processes.iter().all(|p| p.error.is_none())
            && self.cgroups.iter().all(|c| c.error.is_none())
    }
}

/// Has the memory of the target come or go.
pub fn act(system: &System, verb: Verb, target: &Target) -> Result<Outcome, String> {
    let devices = with_attributes(system)?;
    let tgids = match target {
        Target::Processes(tgids) => tgids.clone(),
        Target::Cgroup(path) => within(system, path)?,
    };
    let start = Instant::now();
    let processes: Vec<OfProcess> = tgids
        .into_iter()
        .map(|tgid| one(system, &devices, verb, tgid))
        .collect();
    let (mode, cgroups) = if devices.iter().any(|(_, mode)| *mode == Mode::Evict) {
        let cgroups = match verb {
            Verb::Reclaim => swap_out(system, target, &processes)?,
            Verb::Claim => Vec::new(),
        };
        (Mode::Evict, cgroups)
    } else {
        (Mode::Swap, Vec::new())
    };
    let took = start.elapsed();
    let bytes = match (verb, mode) {
        (Verb::Reclaim, Mode::Evict) => cgroups.iter().map(|c| c.freed).sum(),
        (Verb::Reclaim, Mode::Swap) => moved(&processes, |p| (p.before, p.after)),
        (Verb::Claim, _) => moved(&processes, |p| (p.after, p.before)),
    };

    Ok(Outcome {
        verb,
        mode,
        processes,
        cgroups,
        bytes,
        took,
    })
}

/// By how much less is resident in the second.
fn moved(
    processes: &[OfProcess],
    which: impl Fn(&OfProcess) -> (Option<Memory>, Option<Memory>),
) -> u64 {
    processes
        .iter()
        .filter_map(|process| {
            let (more, less) = which(process);
            Some(more?.resident.saturating_sub(less?.resident))
        })
        .sum()
}

fn with_attributes(system: &System) -> Result<Vec<(Device, Mode)>, String> {
    let devices = system.devices();

    if devices.is_empty() {
        return Err(
            "no GPU is bound to a panthor driver: is panthor_rs loaded (modprobe panthor_rs)?"
                .into(),
        );
    }
    let devices: Vec<_> = devices
        .into_iter()
        .filter_map(|device| {
            let mode = device.mode()?;
            Some((device, mode))
        })
        .collect();
    if devices.is_empty() {
        return Err(
            "the GPU is bound to the driver written in C, which has no mem_reclaim: load \
             panthor_rs instead of panthor"
                .into(),
        );
    }
    Ok(devices)
}

fn within(system: &System, path: &str) -> Result<Vec<u32>, String> {
    if !system.path(&format!("{CGROUPS}{path}")).is_dir() {
        return Err(format!("there is no cgroup {path}"));
    }
    let census = proc::census(system)?;
    let tgids: Vec<u32> = census
        .processes
        .iter()
        .filter(|process| process.within(path))
        .map(|process| process.tgid)
        .collect();

    if tgids.is_empty() {
        return Err(format!("no process in the cgroup {path} has GPU memory"));
    }
    Ok(tgids)
}

/// One process, on all devices: that it has no file of some of them is no error.
fn one(system: &System, devices: &[(Device, Mode)], verb: Verb, tgid: u32) -> OfProcess {
    let look = || proc::process(system, tgid).ok().flatten();
    let before = look();
    let results: Vec<io::Result<()>> = devices
        .iter()
        .map(|(device, _)| {
            let file = match verb {
                Verb::Reclaim => "mem_reclaim",
                Verb::Claim => "mem_claim",
            };
            system.write(&device.folder.join(file), &tgid.to_string())
        })
        .collect();
    let some = results.iter().any(Result::is_ok);
    let error = results
        .iter()
        .filter_map(|result| result.as_ref().err())
        .find(|err| !some || err.raw_os_error() != Some(crate::errno::Errno::Esrch as i32))
        .map(|err| Failure::new(Asked::Driver(verb), err));
    let after = look();

    OfProcess {
        tgid,
        command: before.as_ref().map(|process| process.command.clone()),
        before: before.map(|process| process.memory),
        after: after.map(|process| process.memory),
        error,
    }
}

/// Has the kernel swap out what was given up.
fn swap_out(
    system: &System,
    target: &Target,
    processes: &[OfProcess],
) -> Result<Vec<OfCgroup>, String> {
    let census = proc::census(system)?;
    let mine: Vec<&Process> = census
        .processes
        .iter()
        .filter(|process| processes.iter().any(|p| p.tgid == process.tgid))
        .collect();
    // What is given up there.
    let mut given_up: BTreeMap<String, u64> = BTreeMap::new();

    for process in mine {
        let cgroup = match target {
            Target::Cgroup(path) => path.clone(),
            Target::Processes(_) => process.cgroup.clone(),
        };
        let sum = given_up.entry(cgroup).or_default();
        *sum = sum.saturating_add(process.memory.evicted);
    }

    Ok(given_up
        .into_iter()
        .map(|(cgroup, evicted)| {
            let resident = census
                .processes
                .iter()
                .filter(|process| process.within(&cgroup))
                .map(|process| process.memory.resident)
                .sum();

            ask(system, cgroup, evicted, resident)
        })
        .collect())
}

/// Asks one cgroup. What is in memory for the GPU, `resident` bytes of the cgroup's shared memory, is
/// held there by the driver; of the rest no more than what was given up is asked for, so that asking
/// once more does not swap out what is in use.
fn ask(system: &System, cgroup: String, evicted: u64, resident: u64) -> OfCgroup {
    let folder = system.path(&format!("{CGROUPS}{cgroup}"));
    let in_memory = || shmem(&folder).map(|bytes| bytes.saturating_sub(resident).min(evicted));
    let mut of = OfCgroup {
        cgroup,
        asked: 0,
        freed: 0,
        error: None,
    };

    let result = in_memory().and_then(|asked| {
        of.asked = asked;
        let mut left = asked;
        let mut last = Ok(());

        for _ in 0..ROUNDS {
            if left == 0 {
                return Ok(());
            }
            last = reclaim(system, &folder, left);
            left = in_memory()?.min(left);
            of.freed = asked - left;
        }
        // A small rest is what the kernel was about to write, or had just read.
        if of.freed >= asked - asked / 50 {
            Ok(())
        } else {
            last.and(Err(io::Error::from_raw_os_error(
                crate::errno::Errno::Eagain as i32,
            )))
        }
    });
    of.error = result.err().map(|err| Failure::new(Asked::Cgroup, &err));
    of
}

/// Shared memory (shmem) that is charged to a cgroup, in bytes.
fn shmem(folder: &Path) -> io::Result<u64> {
    std::fs::read_to_string(folder.join("memory.stat"))?
        .lines()
        .find_map(|line| line.strip_prefix("shmem ")?.trim().parse().ok())
        .ok_or_else(|| io::Error::other("memory.stat has no shmem"))
}

/// Asks for this many bytes of memory that is on no disk, which is what GPU memory is to the kernel.
fn reclaim(system: &System, folder: &Path, bytes: u64) -> io::Result<()> {
    let file = folder.join("memory.reclaim");

    match system.write(&file, &format!("{bytes} swappiness=max")) {
        Err(err) if err.raw_os_error() == Some(crate::errno::Errno::Einval as i32) => {
            system.write(&file, &bytes.to_string())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::fake::Fake;

    const MIB: u64 = 1 << 20;
    const GPU: &str = "/sys/bus/platform/drivers/panthor/fb000000.gpu";

    fn stat(fake: &Fake, cgroup: &str, shmem: u64) {
        fake.put(
            &format!("{CGROUPS}{cgroup}/memory.stat"),
            &format!("anon 5\nshmem {shmem}\nshmem_thp 7\n"),
        );
        fake.put(&format!("{CGROUPS}{cgroup}/memory.reclaim"), "");
    }

    #[test]
    fn swap_mode_writes_the_tgid_and_asks_no_cgroup() {
        let fake = Fake::new("swap\n");

        fake.process(7, "/a", &[(1, 2048, 1024)]);
        let outcome = act(&fake.system, Verb::Reclaim, &Target::Processes(vec![7])).unwrap();

        assert!(outcome.complete());
        assert_eq!(outcome.mode, Mode::Swap);
        assert_eq!(fake.written(&format!("{GPU}/mem_reclaim")), "7");
        assert_eq!(fake.written(&format!("{GPU}/mem_claim")), "");
        assert!(outcome.cgroups.is_empty());
    }

    #[test]
    fn evict_mode_asks_for_what_was_given_up_and_no_more() {
        let fake = Fake::new("evict\n");

        // 3 MiB given up, 1 MiB held; of 2.5 MiB of shmem at most 1.5 MiB can be what was given up.
        fake.process(7, "/a", &[(1, 4096, 1024)]);
        stat(&fake, "/a", 5 * MIB / 2);
        let outcome = act(&fake.system, Verb::Reclaim, &Target::Processes(vec![7])).unwrap();

        assert_eq!(
            fake.written(&format!("{CGROUPS}/a/memory.reclaim")),
            format!("{} swappiness=max", 3 * MIB / 2)
        );
        assert_eq!(outcome.cgroups[0].asked, 3 * MIB / 2);
        // A file does not swap out.
        assert_eq!(outcome.cgroups[0].freed, 0);
        assert_eq!(outcome.cgroups[0].error.as_ref().unwrap().name, "EAGAIN");
        assert!(!outcome.complete());
    }

    #[test]
    fn a_cgroup_that_has_none_in_memory_is_left_alone() {
        let fake = Fake::new("evict\n");

        fake.process(7, "/a", &[(1, 4096, 1024)]);
        stat(&fake, "/a", MIB);
        let outcome = act(&fake.system, Verb::Reclaim, &Target::Processes(vec![7])).unwrap();

        assert!(outcome.complete());
        assert_eq!(fake.written(&format!("{CGROUPS}/a/memory.reclaim")), "");
    }

    #[test]
    fn a_cgroup_is_all_its_processes_and_asked_once() {
        let fake = Fake::new("evict\n");

        fake.process(7, "/s/a", &[(1, 1024, 0)]);
        fake.process(8, "/s/b", &[(2, 1024, 0)]);
        fake.process(9, "/t", &[(3, 1024, 0)]);
        stat(&fake, "/s", 8 * MIB);
        let outcome = act(&fake.system, Verb::Reclaim, &Target::Cgroup("/s".into())).unwrap();

        let tgids: Vec<u32> = outcome.processes.iter().map(|p| p.tgid).collect();
        assert_eq!(tgids, [7, 8]);
        assert_eq!(outcome.cgroups.len(), 1);
        assert_eq!(outcome.cgroups[0].asked, 2 * MIB);
    }

    #[test]
    fn claim_never_asks_a_cgroup() {
        let fake = Fake::new("evict\n");

        fake.process(7, "/a", &[(1, 4096, 1024)]);
        stat(&fake, "/a", 8 * MIB);
        let outcome = act(&fake.system, Verb::Claim, &Target::Processes(vec![7])).unwrap();

        assert!(outcome.complete());
        assert_eq!(fake.written(&format!("{GPU}/mem_claim")), "7");
        assert_eq!(fake.written(&format!("{CGROUPS}/a/memory.reclaim")), "");
    }

    #[test]
    fn without_a_driver_or_with_the_other_one() {
        let nothing = System::below("/nonexistent");
        let target = Target::Processes(vec![1]);
        assert!(act(&nothing, Verb::Claim, &target)
            .unwrap_err()
            .contains("modprobe"));

        let fake = Fake::new("neither\n");
        assert!(act(&fake.system, Verb::Claim, &target)
            .unwrap_err()
            .contains("written in C"));
    }

    #[test]
    fn cgroups_that_are_not_there_or_empty() {
        let fake = Fake::new("swap\n");
        let act = |path: &str| act(&fake.system, Verb::Claim, &Target::Cgroup(path.into()));

        assert!(act("/no").unwrap_err().contains("no cgroup"));
        stat(&fake, "/empty", 0);
        assert!(act("/empty").unwrap_err().contains("no process"));
    }
}
