// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The driver's debugfs files.

use crate::ktap::{Fail, Res};
use crate::promise;
use crate::sys::{self, Result};
use std::path::PathBuf;

/// The device's debugfs folder.
pub fn dir() -> Result<PathBuf> {
    let mut v: Vec<PathBuf> = std::fs::read_dir("/sys/kernel/debug/dri")?
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.join("gems").exists())
        .collect();
    v.sort();
    v.pop().ok_or(sys::ENOENT)
}

/// A line of `gems`.
#[derive(Clone, Debug, Default)]
pub struct Gem {
    /// Name of the process that created it.
    pub comm: String,
    /// Its TGID.
    pub tgid: i32,
    /// References.
    pub refs: u64,
    /// How often it was evicted.
    pub evictions: u64,
    /// Bytes.
    pub size: u64,
    /// Bytes resident.
    pub resident: u64,
    /// 1 imported, 2 exported, 4 evicted.
    pub state: u64,
    /// 1 kernel, 2 mapped for the firmware.
    pub usage: u64,
    /// Label.
    pub label: String,
}

/// `gems` as a whole.
#[derive(Clone, Debug, Default)]
pub struct Gems {
    /// The BOs.
    pub bos: Vec<Gem>,
    /// Sum of the sizes.
    pub size: u64,
    /// Sum of the resident sizes.
    pub resident: u64,
    /// Sum of what could be reclaimed.
    pub reclaimable: u64,
}

impl Gems {
    /// Reads and parses it.
    pub fn read() -> Res<Gems> {
        let t = sys::read_text(dir()?.join("gems"))?;
        let mut g = Gems::default();
        let mut totals = false;
        for l in t.lines() {
            if let Some(r) = l.strip_prefix("Total size: ") {
                let n: Vec<u64> = r
                    .split(", ")
                    .filter_map(|p| p.rsplit(' ').next()?.parse().ok())
                    .collect();
                let [size, resident, reclaimable] = n[..] else {
                    return Err(Fail::Fail(format!("gems totals: {l}")));
                };
                (g.size, g.resident, g.reclaimable) = (size, resident, reclaimable);
                totals = true;
            } else if l.starts_with("GEM ")
                || l.starts_with("created-by")
                || l.starts_with("---")
                || l.starts_with("===")
                || l.is_empty()
            {
            } else {
                g.bos
                    .push(Self::line(l).ok_or_else(|| format!("gems line: {l}"))?);
            }
        }
        if !totals {
            return Err(Fail::Fail(format!("gems without totals:\n{t}")));
        }
        Ok(g)
    }

    fn line(l: &str) -> Option<Gem> {
        let (who, rest) = l.split_at_checked(32)?;
        let (comm, tgid) = who.trim_end().rsplit_once('/')?;
        let w: Vec<&str> = rest.split_whitespace().collect();
        let hex = |s: &str| u64::from_str_radix(s.strip_prefix("0x")?, 16).ok();
        // The label is what stands after the eighth column, blanks and all.
        let mut pos = 0;
        for f in w.get(..8)? {
            pos += rest[pos..].find(f)? + f.len();
        }
        Some(Gem {
            comm: comm.to_string(),
            tgid: tgid.parse().ok()?,
            refs: w[1].parse().ok()?,
            evictions: w[2].parse().ok()?,
            size: w[3].parse().ok()?,
            resident: w[4].parse().ok()?,
            state: hex(w[6])?,
            usage: hex(w[7])?,
            label: rest[pos..].trim_start().to_string(),
        })
    }

    /// Bytes resident that are not the driver's own: firmware has some all the time.
    pub fn resident_of_users(&self) -> u64 {
        let users = self.bos.iter().filter(|b| b.usage & 1 == 0);
        users.map(|b| b.resident).sum()
    }

    /// The BO with a label; it must be the only one.
    pub fn by_label(&self, label: &str) -> Res<&Gem> {
        let v: Vec<&Gem> = self.bos.iter().filter(|b| b.label == label).collect();
        match v[..] {
            [b] => Ok(b),
            _ => Err(Fail::Fail(format!("{} BOs labelled {label}", v.len()))),
        }
    }

    /// The BOs created by a process.
    pub fn of(&self, tgid: i32) -> impl Iterator<Item = &Gem> {
        self.bos.iter().filter(move |b| b.tgid == tgid)
    }
}

/// The line of a labelled BO, now.
pub fn gem(label: &str) -> Res<Gem> {
    Gems::read()?.by_label(label).cloned()
}

/// Asks the driver's shrinker to scan this many pages; the pages it says it reclaimed.
pub fn shrink(pages: u64) -> Result<u64> {
    let p = dir()?.join("shrink");
    sys::write_once(&p, format!("{pages}\n").as_bytes())?;
    let s = sys::read_text(&p)?;
    u64::from_str_radix(s.trim().trim_start_matches("0x"), 16).map_err(|_| sys::EINVAL)
}

/// Makes the GPU seem to use all buffers that a process has now, or none any more; one process at a
/// time. Skips the case where there is no such switch.
pub fn busy(tgid: i32, on: bool) -> Res {
    crate::ktap::only_rust("bo_busy")?;
    let p = dir()?.join("bo_busy");
    if !p.exists() {
        return Err(promise::missing("switches", "built without bo_busy"));
    }
    let s = format!("{tgid} {}\n", if on { "on" } else { "off" });
    sys::write_once(p, s.as_bytes()).map_err(|e| format!("bo_busy {}: {e}", s.trim()))?;
    Ok(())
}

/// A line of `vm_resident`.
#[derive(Clone, Debug)]
pub struct Resident {
    /// TGID of the owner.
    pub tgid: i32,
    /// Id in its file.
    pub vm: u32,
    /// The address space slot it has.
    pub slot: Option<u32>,
    /// Active references.
    pub active: u64,
    /// Physical address of the root table.
    pub root: u64,
}

/// The switch that makes VMs resident; skips the case where there is none.
pub struct VmResident {
    path: PathBuf,
}

impl VmResident {
    /// Finds it.
    pub fn need() -> Res<VmResident> {
        crate::ktap::only_rust("vm_resident")?;
        let path = dir()?.join("vm_resident");
        if !path.exists() {
            return Err(promise::missing("switches", "built without vm_resident"));
        }
        Ok(VmResident { path })
    }

    /// Takes or gives up the active reference.
    pub fn set(&self, tgid: i32, vm: u32, on: bool) -> Result<()> {
        let s = format!("{tgid} {vm} {}\n", if on { "on" } else { "off" });
        sys::write_once(&self.path, s.as_bytes()).map(|_| ())
    }

    /// All VMs.
    pub fn list(&self) -> Res<Vec<Resident>> {
        let mut v = Vec::new();
        for l in sys::read_text(&self.path)?.lines() {
            let mut r = Resident {
                tgid: 0,
                vm: 0,
                slot: None,
                active: 0,
                root: 0,
            };
            for (i, w) in l.split_whitespace().enumerate() {
                let bad = || Fail::Fail(format!("vm_resident: {l}"));
                match (i, w.split_once('=')) {
                    (0, None) => r.tgid = w.parse().map_err(|_| bad())?,
                    (1, None) => r.vm = w.parse().map_err(|_| bad())?,
                    (_, Some(("as", n))) => r.slot = n.parse().ok(),
                    (_, Some(("active", n))) => r.active = n.parse().map_err(|_| bad())?,
                    (_, Some(("root", n))) => r.root = crate::model::num(n).ok_or_else(bad)?,
                    _ => return Err(bad()),
                }
            }
            v.push(r);
        }
        Ok(v)
    }

    /// One VM.
    pub fn get(&self, tgid: i32, vm: u32) -> Res<Resident> {
        self.list()?
            .into_iter()
            .find(|r| r.tgid == tgid && r.vm == vm)
            .ok_or_else(|| Fail::Fail(format!("vm_resident has no {tgid} {vm}")))
    }

    /// Makes a VM resident; its slot.
    pub fn on(&self, tgid: i32, vm: u32) -> Res<u32> {
        self.set(tgid, vm, true)
            .map_err(|e| format!("vm_resident {tgid} {vm} on: {e}"))?;
        self.get(tgid, vm)?
            .slot
            .ok_or_else(|| Fail::Fail(format!("VM {vm} resident but without a slot")))
    }
}

/// A mapping as `gpuvas` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GpuVa {
    /// First address.
    pub start: u64,
    /// Bytes.
    pub range: u64,
    /// Something that tells buffers apart.
    pub object: u64,
    /// Offset in the buffer.
    pub offset: u64,
}

/// A VM as `gpuvas` shows it.
#[derive(Clone, Debug)]
pub struct VaSpace {
    /// `panthor-GPU-VM` or `panthor-MCU-VM`.
    pub name: String,
    /// Its mappings.
    pub vas: Vec<GpuVa>,
}

/// Parses `gpuvas`.
pub fn gpuvas() -> Res<Vec<VaSpace>> {
    let t = sys::read_text(dir()?.join("gpuvas"))?;
    let mut v: Vec<VaSpace> = Vec::new();
    for l in t.lines() {
        if let Some(r) = l.strip_prefix("DRM GPU VA space (") {
            let name = r.split(')').next().unwrap_or("").to_string();
            v.push(VaSpace {
                name,
                vas: Vec::new(),
            });
        } else if l.trim_start().starts_with("| 0x") {
            let n: Vec<u64> = l
                .split('|')
                .filter_map(|w| crate::model::num(w.trim()))
                .collect();
            let [start, range, end, object, offset] = n[..] else {
                return Err(Fail::Fail(format!("gpuvas: {l}")));
            };
            if end != start + range {
                return Err(Fail::Fail(format!("gpuvas: {l}")));
            }
            v.last_mut()
                .ok_or_else(|| format!("gpuvas: {l}"))?
                .vas
                .push(GpuVa {
                    start,
                    range,
                    object,
                    offset,
                });
        }
    }
    Ok(v)
}

/// The user part of the mappings of the VM that has `marker` mapped.
pub fn vas_of(marker: u64) -> Res<Vec<GpuVa>> {
    for mut s in gpuvas()? {
        if s.name == "panthor-GPU-VM" && s.vas.iter().any(|a| a.start == marker) {
            s.vas.retain(|a| a.start < 1 << 47 && a.start != marker);
            return Ok(s.vas);
        }
    }
    Err(Fail::Fail(format!("no VM with {marker:#x} in gpuvas")))
}
