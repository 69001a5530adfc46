// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Which processes have GPU memory: the fdinfo of their DRM files.

use crate::system::{Mode, System};
use serde::Serialize;
use std::{collections::BTreeMap, io};

/// GPU memory in bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Memory {
    /// All that was allocated.
    pub total: u64,
    /// What the driver holds in memory for the GPU.
    pub resident: u64,
    /// What it gave up: on swap, or the kernel's to swap out.
    pub evicted: u64,
}

/// A process with a file of a panthor device.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Process {
    /// Its TGID.
    pub tgid: u32,
    /// Its name.
    pub command: String,
    /// Its cgroup, as a path that begins with a slash.
    pub cgroup: String,
    /// What it has.
    #[serde(flatten)]
    pub memory: Memory,
}

impl Process {
    /// Whether it is in this cgroup or below it.
    pub fn within(&self, cgroup: &str) -> bool {
        cgroup == "/"
            || self
                .cgroup
                .strip_prefix(cgroup)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// A GPU, as the table shows it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Gpu {
    /// Its name on the platform bus.
    pub name: String,
    /// What `mem_reclaim` does; nothing if the driver has none.
    pub mode: Option<Mode>,
}

/// All of it at one time.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Census {
    /// The GPUs with a panthor driver.
    pub gpus: Vec<Gpu>,
    /// Processes, by TGID.
    pub processes: Vec<Process>,
    /// Processes whose files the caller may not see.
    pub hidden: usize,
}

/// Looks at all processes.
pub fn census(system: &System) -> Result<Census, String> {
    let mut census = Census {
        gpus: system
            .devices()
            .iter()
            .map(|device| Gpu {
                name: device.name.clone(),
                mode: device.mode(),
            })
            .collect(),
        processes: Vec::new(),
        hidden: 0,
    };
    let mut tgids: Vec<u32> = system
        .entries("/proc")
        .map_err(|err| format!("/proc: {err}"))?
        .iter()
        .filter_map(|name| name.parse().ok())
        .collect();

    tgids.sort_unstable();
    for tgid in tgids {
        match process(system, tgid) {
            Ok(process) => census.processes.extend(process),
            Err(err) if err.kind() == io::ErrorKind::PermissionDenied => census.hidden += 1,
            // It has ended meanwhile.
            Err(_) => {}
        }
    }

    Ok(census)
}

/// What a process has; nothing if it has no file of a panthor device.
pub fn process(system: &System, tgid: u32) -> io::Result<Option<Process>> {
    let folder = format!("/proc/{tgid}/fdinfo");
    let mut clients = BTreeMap::new();

    for fd in system.entries(&folder)? {
        match system.read(&format!("{folder}/{fd}")) {
            Ok(text) => clients.extend(client(&text)),
            Err(err) if err.kind() == io::ErrorKind::PermissionDenied => return Err(err),
            // It was closed meanwhile.
            Err(_) => {}
        }
    }
    if clients.is_empty() {
        return Ok(None);
    }

    let mut memory = Memory::default();
    for one in clients.values() {
        memory.total = memory.total.saturating_add(one.total);
        memory.resident = memory.resident.saturating_add(one.resident);
    }
    memory.evicted = memory.total.saturating_sub(memory.resident);

    Ok(Some(Process {
        tgid,
        command: system
            .read(&format!("/proc/{tgid}/comm"))?
            .trim_end()
            .to_string(),
        cgroup: cgroup(&system.read(&format!("/proc/{tgid}/cgroup"))?).to_string(),
        memory,
    }))
}

/// A client of panthor, by its number: descriptors that were duplicated say the same.
fn client(fdinfo: &str) -> Option<(String, Memory)> {
    let value = |key: &str| {
        fdinfo
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
            .map(str::trim)
    };

    if value("drm-driver")? != "panthor" {
        return None;
    }
    Some((
        value("drm-client-id")?.to_string(),
        Memory {
            total: bytes(value("drm-total-memory").unwrap_or("0"))?,
            resident: bytes(value("drm-resident-memory").unwrap_or("0"))?,
            evicted: 0,
        },
    ))
}

/// A size of fdinfo.
fn bytes(text: &str) -> Option<u64> {
    let mut words = text.split_whitespace();
    let number: u64 = words.next()?.parse().ok()?;

    number.checked_mul(match words.next() {
        None => 1,
        Some("KiB") => 1 << 10,
        Some("MiB") => 1 << 20,
        Some(_) => return None,
    })
}

/// The path of version 2 in `/proc/PID/cgroup`.
fn cgroup(text: &str) -> &str {
    text.lines()
        .find_map(|line| line.strip_prefix("0::"))
        .unwrap_or("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::fake::Fake;

    #[test]
    fn sums_clients_and_counts_each_once() {
        let fake = Fake::new("swap\n");

        fake.process(7, "/a/b", &[(1, 100, 60), (2, 8, 8), (1, 100, 60)]);
        fake.process(8, "/a", &[]);
        let census = census(&fake.system).unwrap();

        assert_eq!(census.gpus.len(), 1);
        assert_eq!(census.gpus[0].mode, Some(Mode::Swap));
        assert_eq!(census.hidden, 0);
        assert_eq!(
            census.processes,
            [Process {
                tgid: 7,
                command: "app7".into(),
                cgroup: "/a/b".into(),
                memory: Memory {
                    total: 108 << 10,
                    resident: 68 << 10,
                    evicted: 40 << 10
                }
            }]
        );
    }

    #[test]
    fn other_drivers_and_nonsense_do_not_count() {
        assert_eq!(client("drm-driver:\tmsm\ndrm-client-id:\t3\n"), None);
        assert_eq!(client("drm-driver:\tpanthor\n"), None);
        assert_eq!(bytes("3 MiB"), Some(3 << 20));
        assert_eq!(bytes("3 furlongs"), None);
        assert_eq!(bytes("18446744073709551615 KiB"), None);
        assert_eq!(bytes(""), None);
    }

    #[test]
    fn within_a_cgroup() {
        let fake = Fake::new("evict\n");

        fake.process(9, "/app.slice/game", &[(1, 4, 4)]);
        let game = process(&fake.system, 9).unwrap().unwrap();
        for (cgroup, within) in [
            ("/", true),
            ("/app.slice", true),
            ("/app.slice/game", true),
            ("/app.slice/g", false),
            ("/app.slice/game/x", false),
        ] {
            assert_eq!(game.within(cgroup), within, "{cgroup}");
        }
    }
}
