// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The descriptors that a compute job needs.

use super::float::Flush;
use crate::cs::env::Memory;
use crate::shader::job::{ComputeJob, JobError, JobFault};

/// Reads the words of a descriptor.
pub fn words<const N: usize>(
    memory: &mut (impl Memory + ?Sized),
    va: u64,
) -> Result<[u32; N], JobError> {
    let mut bytes = [[0; 4]; N];
    memory.load(va, bytes.as_flattened_mut())?;
    Ok(bytes.map(u32::from_le_bytes))
}

/// Two words.
pub fn pair(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

/// A shader program descriptor.
#[derive(Clone, Copy, Debug, Default)]
pub struct Program {
    /// First instruction.
    pub binary: u64,
    /// Bit `n` for register `48 + n`: it is preloaded.
    pub preload: u16,
    /// Registers r16 to r47 are not there.
    pub few_registers: bool,
    /// Small numbers.
    pub flush: Flush,
}

impl Program {
    /// Type of the descriptor.
    const TYPE: u32 = 8;

    /// Reads it.
    pub fn read(memory: &mut (impl Memory + ?Sized), va: u64) -> Result<Self, JobError> {
        let words: [u32; 8] = words(memory, va)?;
        if words[0] & 0xf != Self::TYPE {
            return Err(bad(va, "not a shader program"));
        }
        let mode = words[0] >> 17 & 3;
        let few = match words[0] >> 30 {
            0 => false,
            2 => true,
            _ => return Err(bad(va, "register allocation")),
        };
        Ok(Self {
            binary: pair(words[2], words[3]),
            preload: words[1] as u16,
            few_registers: few,
            flush: Flush {
                f32: mode != 0,
                f16: mode >= 2,
            },
        })
    }
}

fn bad(va: u64, what: &'static str) -> JobError {
    JobError::Fault(JobFault::Descriptor { va, what })
}

/// A local storage descriptor.
#[derive(Clone, Copy, Debug, Default)]
pub struct Storage {
    /// Where the memory of threads begins.
    pub tls: u64,
    /// Bytes of a thread, if there are any.
    pub tls_size: u64,
    /// Where the memory of workgroups begins.
    pub wls: u64,
    /// Bytes of a workgroup.
    pub wls_size: u64,
    /// Workgroups of a core that have memory at the same time.
    pub wls_instances: u64,
}

impl Storage {
    /// Reads it. A null pointer is no storage.
    pub fn read(memory: &mut (impl Memory + ?Sized), va: u64) -> Result<Self, JobError> {
        if va == 0 {
            return Ok(Self::default());
        }
        let words: [u32; 8] = words(memory, va)?;
        let packed = match words[3] >> 28 {
            0 => false,
            1 => true,
            _ => return Err(bad(va, "address mode")),
        };
        let tls = pair(words[2], words[3]) & 0xffff_ffff_ffff;
        let scale = words[1] >> 8 & 0x1f;
        let size = u64::from(words[1] >> 5 & 3) + 4;
        let instances = words[1] & 0x1f;
        Ok(Self {
            tls: if packed { tls << 8 } else { tls },
            tls_size: if tls == 0 { 0 } else { 16 << (words[0] & 0x1f) },
            wls: pair(words[4], words[5]),
            wls_size: if scale == 0 {
                0
            } else {
                size << (scale - 1) >> 2
            },
            // 31 stands for no memory.
            wls_instances: if instances == 31 { 0 } else { 1 << instances },
        })
    }
}

/// A buffer that a handle stands for. A size of 0 is also what is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Buffer {
    /// Where it begins.
    pub address: u64,
    /// Bytes.
    pub size: u32,
}

/// Finds the descriptor behind a handle: the table in `[31:24]`, the index below it.
pub fn resource(
    memory: &mut (impl Memory + ?Sized),
    job: &ComputeJob,
    handle: u32,
) -> Result<Option<(u64, [u32; 8])>, JobError> {
    let (table, index) = (handle >> 24, handle & 0xff_ffff);
    if u64::from(table) >= job.srt & 0x3f {
        return Ok(None);
    }
    let va = (job.srt & !0x3f).wrapping_add(u64::from(table) * 16);
    let entry: [u32; 4] = words(memory, va)?;
    let size = pair(entry[2], entry[3]);
    if u64::from(index) * 32 + 32 > size {
        return Ok(None);
    }
    if entry[1] >> 24 & 1 == 0 {
        return Err(bad(va, "a table that is a buffer"));
    }
    let address = pair(entry[0], entry[1] & 0xff_ffff);
    let at = address.wrapping_add(u64::from(index) * 32);
    Ok(Some((at, words(memory, at)?)))
}

/// The buffer behind a handle. Beyond the tables, and for a descriptor of zeros, there is none.
pub fn buffer(
    memory: &mut (impl Memory + ?Sized),
    job: &ComputeJob,
    handle: u32,
) -> Result<Buffer, JobError> {
    let Some((va, words)) = resource(memory, job, handle)? else {
        return Ok(Buffer::default());
    };
    match (words[0] & 0xf, words[0] >> 4 & 0xf) {
        (0, _) => Ok(Buffer::default()),
        (9, 1 | 3) => Ok(Buffer {
            address: pair(words[2], words[3]),
            size: words[1],
        }),
        _ => Err(bad(va, "not a buffer")),
    }
}
