// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What a command stream hands to the shader cores: the jobs of RUN_COMPUTE and RUN_FRAGMENT.

use super::isa::decode::{decode, lookup};
use crate::cs::env::MemError;
use std::borrow::Cow;

/// Which of the four sets of pointers a RUN_COMPUTE uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selects {
    /// Resource tables: d0, d2, d4 or d6.
    pub srt: u8,
    /// Uniforms: d8, d10, d12 or d14.
    pub fau: u8,
    /// Shader program: d16, d18, d20 or d22.
    pub spd: u8,
    /// Local storage: d24, d26, d28 or d30.
    pub tsd: u8,
}

/// A compute job, as the registers of a stream describe it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComputeJob {
    /// Resource tables: address in `[63:6]`, number of them in `[5:0]`.
    pub srt: u64,
    /// Uniforms: address in `[47:0]`, number of 64-bit words in `[63:56]`.
    pub fau: u64,
    /// Address of the shader program descriptor.
    pub spd: u64,
    /// Address of the local storage descriptor.
    pub tsd: u64,
    /// Global attribute offset.
    pub attribute_offset: u32,
    /// Size of a workgroup, less one, in three fields of ten bits; bit 31 allows merging.
    pub workgroup: u32,
    /// Added to the global invocation id.
    pub offset: [u32; 3],
    /// Number of workgroups in each dimension.
    pub size: [u32; 3],
    /// The axis along which tasks are cut: 0 is x.
    pub task_axis: u8,
    /// Workgroups of a task along that axis.
    pub task_increment: u32,
}

impl ComputeJob {
    /// Registers that describe a compute job: r0 to r39.
    pub const REGISTERS: usize = 40;

    /// Reads the job from r0 to r39 of a stream.
    ///
    /// Only the two low bits of each select count, as in the instruction.
    pub fn from_registers(regs: &[u32; Self::REGISTERS], selects: Selects) -> Self {
        let word = |n: usize| regs.get(n).copied().unwrap_or(0);
        let pair = |n: usize| u64::from(word(n)) | u64::from(word(n + 1)) << 32;
        let select = |base: usize, which: u8| pair(base + 2 * usize::from(which & 3));
        Self {
            srt: select(0, selects.srt),
            fau: select(8, selects.fau),
            spd: select(16, selects.spd),
            tsd: select(24, selects.tsd),
            attribute_offset: word(32),
            workgroup: word(33),
            offset: [word(34), word(35), word(36)],
            size: [word(37), word(38), word(39)],
            task_axis: 0,
            task_increment: 1,
        }
    }

    /// Threads of a workgroup in each dimension, 1 to 1024.
    pub fn workgroup_size(&self) -> [u32; 3] {
        [0, 10, 20].map(|shift| (self.workgroup >> shift & 0x3ff) + 1)
    }
}

/// A fragment job, as the registers of a stream describe it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FragmentJob {
    /// Framebuffer descriptor (d40): address in `[63:6]`; bit 1 says that the depth extension is
    /// there, `[5:2]` is the number of render targets less one.
    pub framebuffer: u64,
    /// First pixel (r42): x in `[15:0]`, y in `[31:16]`.
    pub min: u32,
    /// Last pixel (r43), inclusive, in the same form.
    pub max: u32,
    /// Only the tiles of a map are rendered.
    pub tile_enable_map: bool,
    /// Order of tiles, as in the instruction.
    pub tile_order: u8,
}

impl FragmentJob {
    /// Reads the job from r40 to r43 of a stream.
    pub fn from_registers(regs: &[u32; 4]) -> Self {
        let [low, high, min, max] = *regs;
        Self {
            framebuffer: u64::from(low) | u64::from(high) << 32,
            min,
            max,
            tile_enable_map: false,
            tile_order: 0,
        }
    }
}

/// Why a job ended before its end. A job that faults has done part of its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobFault {
    /// The program counter left the executable mapping, or is not aligned.
    InvalidPc {
        /// Where.
        pc: u64,
    },
    /// An instruction, or a combination of its fields, that the model does not know.
    InvalidEncoding {
        /// Where.
        pc: u64,
        /// The instruction.
        word: u64,
    },
    /// Not all threads of a workgroup can reach a barrier.
    Barrier {
        /// Where.
        pc: u64,
    },
    /// A descriptor with a type or value that cannot be.
    Descriptor {
        /// Its address.
        va: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// More threads in a workgroup than the hardware can run.
    Config(&'static str),
}

impl JobFault {
    /// The exception code.
    pub fn code(&self) -> u8 {
        match self {
            Self::InvalidPc { .. } => 0x50,
            Self::InvalidEncoding { .. } => 0x51,
            Self::Barrier { .. } => 0x55,
            Self::Descriptor { .. } => 0x58,
            Self::Config(_) => 0x40,
        }
    }

    /// What it is counted as. An instruction that only the disassembler knows is named.
    pub fn name(&self) -> Cow<'static, str> {
        let name = match self {
            Self::InvalidPc { .. } => "job-invalid-pc",
            Self::InvalidEncoding { word, .. } => match decode(*word).and(lookup(*word)) {
                Some(entry) => return format!("job-not-executed-{}", entry.name).into(),
                None => "job-invalid-encoding",
            },
            Self::Barrier { .. } => "job-barrier",
            Self::Descriptor { .. } => "job-descriptor",
            Self::Config(_) => "job-config",
        };
        name.into()
    }

    /// The address that goes with it.
    pub fn info(&self) -> u64 {
        match *self {
            Self::InvalidPc { pc } | Self::InvalidEncoding { pc, .. } | Self::Barrier { pc } => pc,
            Self::Descriptor { va, .. } => va,
            Self::Config(_) => 0,
        }
    }
}

/// Why a job did not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobError {
    /// An access did not happen. After [`MemError::Locked`] the job can go on.
    Memory(MemError),
    /// The job is over.
    Fault(JobFault),
}

impl From<MemError> for JobError {
    fn from(error: MemError) -> Self {
        Self::Memory(error)
    }
}

impl From<JobFault> for JobError {
    fn from(fault: JobFault) -> Self {
        Self::Fault(fault)
    }
}

/// How far a job came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is done.
    Done(JobStats),
    /// The budget is used.
    More,
}

/// What a job did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobStats {
    /// Instructions of a thread that were executed.
    pub instructions: u64,
    /// Threads that ran.
    pub threads: u64,
    /// Workgroups that ran.
    pub workgroups: u64,
    /// Pixels that were written.
    pub pixels: u64,
    /// Things that a fragment job was asked for and that the model does not do: drawing, targets
    /// in formats or layouts that it does not know.
    pub skipped: u64,
}

impl core::ops::AddAssign for JobStats {
    fn add_assign(&mut self, other: Self) {
        self.instructions = self.instructions.wrapping_add(other.instructions);
        self.threads = self.threads.wrapping_add(other.threads);
        self.workgroups = self.workgroups.wrapping_add(other.workgroups);
        self.pixels = self.pixels.wrapping_add(other.pixels);
        self.skipped = self.skipped.wrapping_add(other.skipped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_of_a_compute_job() {
        let mut regs = [0; ComputeJob::REGISTERS];
        for (n, reg) in regs.iter_mut().enumerate() {
            *reg = n as u32;
        }
        regs[33] = 255 | 3 << 10 | 1 << 20 | 1 << 31;
        let selects = Selects {
            srt: 1,
            fau: 0,
            spd: 3,
            tsd: 2,
        };
        let job = ComputeJob::from_registers(&regs, selects);
        assert_eq!(job.srt, 3 << 32 | 2);
        assert_eq!(job.fau, 9 << 32 | 8);
        assert_eq!(job.spd, 23 << 32 | 22);
        assert_eq!(job.tsd, 29 << 32 | 28);
        assert_eq!(job.workgroup_size(), [256, 4, 2]);
        assert_eq!((job.offset, job.size), ([34, 35, 36], [37, 38, 39]));
    }

    #[test]
    fn registers_of_a_fragment_job() {
        let job = FragmentJob::from_registers(&[0x1000_0041, 2, 0, 0x0ff_00ff]);
        assert_eq!(job.framebuffer, 0x2_1000_0041);
        assert_eq!(job.max, 0x0ff_00ff);
    }
}
