// SPDX-License-Identifier: GPL-2.0 OR MIT
//! OpenCL on rusticl: programs of `kernels/`, compiled in the guest, checked against the CPU.

use e2e::{cases, check, fail, Fail, Res};
use mesa::{differ, words};
use opencl3::command_queue::CommandQueue;
use opencl3::context::Context;
use opencl3::device::Device;
use opencl3::error_codes::ClError;
use opencl3::kernel::{ExecuteKernel, Kernel};
use opencl3::memory::{Buffer, CL_MEM_READ_WRITE};
use opencl3::platform::get_platforms;
use opencl3::program::Program;
use opencl3::types::{cl_uint, CL_BLOCKING};
use sha2::{Digest, Sha256};
use std::process::ExitCode;

/// Work items in a workgroup.
const LOCAL: usize = 64;

fn cl<T>(what: &str, r: Result<T, ClError>) -> Res<T> {
    r.map_err(|e| Fail::Fail(format!("{what}: {e}")))
}

fn same<T: PartialEq + std::fmt::Debug>(got: &[T], want: &[T]) -> Res {
    match differ(got, want) {
        None => Ok(()),
        Some(text) => fail!("{text}"),
    }
}

/// A queue and one kernel.
struct Cl {
    context: Context,
    queue: CommandQueue,
    kernel: Kernel,
}

impl Cl {
    /// The first device of the first platform, and the kernel of this name, which is all of `source`.
    fn open(source: &str, name: &str) -> Res<Self> {
        let platforms = cl("clGetPlatformIDs", get_platforms())?;
        let Some(platform) = platforms.first() else {
            fail!("no platform");
        };
        let ids = cl(
            "clGetDeviceIDs",
            platform.get_devices(opencl3::device::CL_DEVICE_TYPE_GPU),
        )?;
        let Some(id) = ids.first() else {
            fail!("no GPU");
        };
        let device = Device::new(*id);
        let text = cl("clGetDeviceInfo", device.name())?;
        check!(text.contains("Mali-G610"), "the device is {text}");
        let context = cl("clCreateContext", Context::from_device(&device))?;
        // SAFETY: the context is valid, no properties.
        let queue = unsafe { CommandQueue::create_with_properties(&context, device.id(), 0, 0) };
        let queue = cl("clCreateCommandQueueWithProperties", queue)?;
        let program = Program::create_and_build_from_source(&context, source, "")
            .map_err(|e| Fail::Fail(format!("{name}.cl: {e}")))?;
        let kernel = cl("clCreateKernel", Kernel::create(&program, name))?;
        Ok(Self {
            context,
            queue,
            kernel,
        })
    }

    fn buffer<T: Copy>(&self, data: &[T]) -> Res<Buffer<T>> {
        let null = std::ptr::null_mut();
        // SAFETY: no host memory is given.
        let buffer = unsafe { Buffer::create(&self.context, CL_MEM_READ_WRITE, data.len(), null) };
        let mut buffer = cl("clCreateBuffer", buffer)?;
        // SAFETY: the write ends before the call does.
        let written = unsafe {
            self.queue
                .enqueue_write_buffer(&mut buffer, CL_BLOCKING, 0, data, &[])
        };
        cl("clEnqueueWriteBuffer", written)?;
        Ok(buffer)
    }

    fn read<T: Copy + Default>(&self, buffer: &Buffer<T>, n: usize) -> Res<Vec<T>> {
        let mut data = vec![T::default(); n];
        // SAFETY: the read ends before the call does.
        let read = unsafe {
            self.queue
                .enqueue_read_buffer(buffer, CL_BLOCKING, 0, &mut data, &[])
        };
        cl("clEnqueueReadBuffer", read)?;
        Ok(data)
    }

    /// Runs the kernel, with the arguments that a function sets.
    fn run(
        &self,
        global: &[usize],
        local: &[usize],
        set: impl for<'a, 'b> FnOnce(&'b mut ExecuteKernel<'a>),
    ) -> Res {
        let mut execute = ExecuteKernel::new(&self.kernel);
        set(&mut execute);
        execute
            .set_global_work_sizes(global)
            .set_local_work_sizes(local);
        // SAFETY: the arguments are those of the kernel, and the buffers as large as the work is.
        cl("clEnqueueNDRangeKernel", unsafe {
            execute.enqueue_nd_range(&self.queue)
        })?;
        Ok(())
    }
}

fn sum(words: &[u32]) -> u32 {
    words.iter().fold(0, |a, b| a.wrapping_add(*b))
}

fn vector_add() -> Res {
    const N: usize = 4096;
    let c = Cl::open(include_str!("../../kernels/add.cl"), "add")?;
    let (x, y) = (words(1, N), words(2, N));
    let (a, b, out) = (c.buffer(&x)?, c.buffer(&y)?, c.buffer(&[0u32; N])?);
    // SAFETY: the kernel takes three buffers of words.
    c.run(&[N], &[LOCAL], |k| unsafe {
        k.set_arg(&a).set_arg(&b).set_arg(&out);
    })?;
    let want: Vec<u32> = x.iter().zip(&y).map(|(a, b)| a.wrapping_add(*b)).collect();
    same(&c.read(&out, N)?, &want)
}

fn reduction() -> Res {
    const N: usize = 4096;
    let c = Cl::open(include_str!("../../kernels/reduce.cl"), "reduce")?;
    let x = words(3, N);
    let (a, parts, total) = (
        c.buffer(&x)?,
        c.buffer(&[0u32; N / LOCAL])?,
        c.buffer(&[0u32])?,
    );
    // SAFETY: the kernel takes three buffers of words and workgroup memory of a word for each item.
    c.run(&[N], &[LOCAL], |k| unsafe {
        k.set_arg(&a)
            .set_arg(&parts)
            .set_arg(&total)
            .set_arg_local_buffer(LOCAL * 4);
    })?;
    let want: Vec<u32> = x.chunks(LOCAL).map(sum).collect();
    same(&c.read(&parts, N / LOCAL)?, &want)?;
    same(&c.read(&total, 1)?, &[sum(&x)])
}

fn prefix_sum() -> Res {
    const N: usize = 2048;
    let c = Cl::open(include_str!("../../kernels/scan.cl"), "scan")?;
    let x = words(4, N);
    let (a, out) = (c.buffer(&x)?, c.buffer(&[0u32; N])?);
    // SAFETY: the kernel takes two buffers of words and workgroup memory of a word for each item.
    c.run(&[N], &[LOCAL], |k| unsafe {
        k.set_arg(&a).set_arg(&out).set_arg_local_buffer(LOCAL * 4);
    })?;
    let want: Vec<u32> = x
        .chunks(LOCAL)
        .flat_map(|c| {
            c.iter().scan(0u32, |s, x| {
                *s = s.wrapping_add(*x);
                Some(*s)
            })
        })
        .collect();
    same(&c.read(&out, N)?, &want)
}

fn matrix_product() -> Res {
    const N: usize = 32;
    let c = Cl::open(include_str!("../../kernels/matmul.cl"), "matmul")?;
    // Small whole numbers: every product and sum is exact, in any order.
    let small = |seed| -> Vec<f32> {
        words(seed, N * N)
            .iter()
            .map(|w| (w >> 24) as f32)
            .collect()
    };
    let (x, y) = (small(5), small(6));
    let (a, b, out) = (c.buffer(&x)?, c.buffer(&y)?, c.buffer(&[0f32; N * N])?);
    let n = N as cl_uint;
    // SAFETY: the kernel takes three buffers of floats and their width.
    c.run(&[N, N], &[8, 8], |k| unsafe {
        k.set_arg(&a).set_arg(&b).set_arg(&out).set_arg(&n);
    })?;
    let product = |i: usize| (0..N).map(|k| x[i / N * N + k] * y[k * N + i % N]).sum();
    let want: Vec<f32> = (0..N * N).map(product).collect();
    same(&c.read(&out, N * N)?, &want)
}

/// The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
fn round_constants() -> Vec<u32> {
    let primes = (2u128..).filter(|n| (2..*n).all(|d| n % d != 0));
    primes
        .take(64)
        .map(|p| {
            // The cube root of p * 2^96, by bits.
            let mut root = 0u128;
            for bit in (0..36).rev() {
                let more = root | (1 << bit);
                if more * more * more <= (p << 96) {
                    root = more;
                }
            }
            root as u32
        })
        .collect()
}

fn sha256() -> Res {
    const N: usize = 128;
    const BLOCKS: usize = 3;
    let c = Cl::open(include_str!("../../kernels/sha256.cl"), "sha256")?;
    let mut message = Vec::new();
    let mut want = Vec::new();
    for i in 0..N {
        let data: Vec<u8> = words(i as u32 + 1, (BLOCKS - 1) * 16)
            .into_iter()
            .flat_map(u32::to_be_bytes)
            .collect();
        let words_of = |b: &[u8]| -> Vec<u32> {
            b.chunks_exact(4)
                .map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
                .collect()
        };
        message.extend(words_of(&data));
        message.push(0x8000_0000);
        message.extend([0; 14]);
        message.push(data.len() as u32 * 8);
        want.extend(words_of(&Sha256::digest(&data)));
    }
    let (a, k, out) = (
        c.buffer(&message)?,
        c.buffer(&round_constants())?,
        c.buffer(&[0u32; N * 8])?,
    );
    let blocks = BLOCKS as cl_uint;
    // SAFETY: the kernel takes three buffers of words and the number of blocks.
    c.run(&[N], &[LOCAL], |e| unsafe {
        e.set_arg(&a).set_arg(&k).set_arg(&out).set_arg(&blocks);
    })?;
    same(&c.read(&out, N * 8)?, &want)
}

fn sorting() -> Res {
    const N: usize = 512;
    let c = Cl::open(include_str!("../../kernels/sort.cl"), "sort")?;
    let mut x = words(7, N);
    let a = c.buffer(&x)?;
    let mut size = 2 as cl_uint;
    while size as usize <= N {
        let mut stride = size / 2;
        while stride > 0 {
            // SAFETY: the kernel takes a buffer of words and two numbers.
            c.run(&[N], &[LOCAL], |k| unsafe {
                k.set_arg(&a).set_arg(&size).set_arg(&stride);
            })?;
            stride /= 2;
        }
        size *= 2;
    }
    x.sort_unstable();
    same(&c.read(&a, N)?, &x)
}

fn main() -> ExitCode {
    // The name without a version belongs to the package for developers.
    std::env::set_var("OPENCL_DYLIB_PATH", "libOpenCL.so.1");
    e2e::ktap::run(cases![limit 300;
        vector_add, reduction, prefix_sum, matrix_product, sha256, sorting,
    ])
}
